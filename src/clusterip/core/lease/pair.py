"""What one of two hosts may do without the other, where `quorum = "alive"` lets it.

Of two none is a majority. The survivor goes on alone when the other was silent for long enough;
who hears the other, which does not hear it, serves nothing, for that one goes on alone. Where both
directions of the network are cut both serve: nobody can tell that from a death.
"""

from __future__ import annotations

from clusterip.core.lease.node_state import NodeState
from clusterip.core.lease.peers import Peer, Unproven
from clusterip.core.lease.voter_set import Quorum
from clusterip.core.messages.message import Message


class Pair(NodeState):
    """The knowledge of a node, and who may decide without whom."""

    def quorums(self, now: int) -> list[Quorum]:
        """Return the sets of voters and how many of each must grant."""
        if self.serves_alone(now):
            return [(frozenset({self.me}), 1)]
        return self.voters.quorums

    def serves_alone(self, now: int) -> bool:
        """Return whether this node is one of two that may go on alone, and does."""
        return self._is_of_two() and self._alone(now)

    def _is_of_two(self) -> bool:
        """Return whether one of two may go on alone."""
        return self.config.alive and len(self.voters.voters) == 2

    def _alone(self, now: int) -> bool:
        """Return whether the other of two is gone, as far as can be known without a third."""
        if self._has_third() or self.voters.before or self.me not in self.voters.voters:
            return False
        if self.lone or self._silent(now):
            return True
        # It speaks but may not serve with us: who served before it came goes on.
        newest = self._other_of_two().newest
        if newest is None or newest.held or self.agrees(newest):
            return False
        return self.incumbent and not self._goes_on_unheard(now)

    def _has_third(self) -> bool:
        """Return whether the other of two may serve with a third, which is not in our file yet.

        It has the set after ours; or, started anew with that, hears somebody else, with whom it
        waits for as long as we serve (`_barred`).
        """
        newest = self._other_of_two().newest
        if newest is None or newest.voters == self.voters.digest:
            return False
        if newest.previous == self.voters.digest:
            return True
        others = any(one.known and one.node != self.me for one in newest.heard)
        return others and not self.kernel.open

    def _other_of_two(self) -> Peer:
        return self.peers.all.get(self._name_of_other()) or Peer()

    def _newest_of_other(self, now: int) -> Message | None:
        """Return what the other of two said last, where it was heard of late."""
        peer = self._other_of_two()
        return peer.newest if peer.heard_at + self.promise_length > now else None

    def _speaking_anew(self, now: int) -> list[Unproven]:
        """Return the incarnations of the other of two that speak and are not proven."""
        return [
            one
            for one in self._other_of_two().unproven.values()
            if one.spoke_at and one.spoke_at + self.promise_length > now
        ]

    def _name_of_other(self) -> int:
        (other,) = self.voters.voters - {self.me}
        return other

    def _silent(self, now: int) -> bool:
        """Return whether we listened to the other of two for long enough, and heard nothing."""
        peer = self._other_of_two()
        listened = now - self.listening_since
        # An unproven incarnation may be the other, that does not hear us: then it goes on, alone.
        if self._speaking_anew(now):
            return False
        other = self._name_of_other()
        if self.namesake.may_serve(now=now) or self.namesake.hears(
            other, peer.incarnation, peer.sequence, now=now
        ):
            return False
        if not peer.excused_until:
            # It may be in a planned restart that it announced before we came.
            return listened >= self.voter.length(self.timing.restart)
        quiet_from = peer.excused_until
        if peer.farewell_at:
            # Whatever it had asked for before, a grace too: it closed all, and so asked no more.
            quiet_from = peer.farewell_at + 3 * self.timing.interval
        return listened >= self.promise_length and now >= quiet_from

    def _missed_grace(self, since: int, now: int) -> bool:
        """Return whether the other of two may have announced a grace since we heard nothing, ns.

        It goes on alone first: D after it heard us last; or, where it was not there, only after it
        began, and listened for the longest grace.
        """
        if not self._is_of_two():
            return False
        peer = self._other_of_two()
        if max(peer.heard_at, peer.spoke_at) + self.promise_length > since:
            return now - since > self.promise_length - 2 * self.timing.interval
        return now - since > self.timing.restart

    def await_grace(self, now: int) -> None:
        """Take the silence of the other of two for death only after the longest grace."""
        begins = now + self.voter.length(self.timing.restart) - self.promise_length
        self.listening_since = max(self.listening_since, begins)

    def _begins(self, now: int) -> bool:
        """Return whether the other of two hears us, and has neither a bucket nor a vote to give.

        Its daemon was started anew: its kernel answers nothing, and it does not go on alone.
        """
        newest = self._newest_of_other(now)
        hears_us = self._other_of_two().hears_us
        return bool(newest and hears_us and self.agrees(newest) and not newest.claims)

    def _other_knows_of_grace(self, now: int) -> bool:
        """Return whether the other of two, if it hears us, has heard of our grace.

        It would take our silence for death. Who serves alone does not need its word else.
        """
        if not self.serves_alone(now):
            return True
        peer = self._other_of_two()
        # It may take us in before we do so with its new incarnation.
        if any(one.echo < self.grace_sequence for one in self._speaking_anew(now)):
            return False
        if peer.farewell_at:
            return True
        # In a restart of its own it is silent, and comes back.
        ended = max(peer.heard_at + self.promise_length, peer.excused_until) <= now
        if peer.newest is not None and peer.hears_us and not ended:
            return peer.newest.heard_of(self.me, self.incarnation) >= self.grace_sequence
        # It may hear us though we do not hear it. Said again until our silence would have counted
        # as death, the grace reaches it: one message may be lost, or find its link down.
        return now >= self.grace_sent_at + self.promise_length

    def _goes_on_unheard(self, now: int) -> bool:
        """Return whether the other of two is heard, does not hear us, and may go on alone for that.

        It does so D after it heard us last. Where it never did, it listens for the longest grace
        first: by half of that time it has said something often enough, or for long enough.
        """
        if anew := self._speaking_anew(now):
            return any(one.serves or self._is_unheard_by(one, now) for one in anew)
        newest = self._newest_of_other(now)
        return newest is not None and not self.hears_us(newest, now)

    def _is_unheard_by(self, one: Unproven, now: int) -> bool:
        if one.echo:
            return not self.sent_lately(one.echo, now)
        ran = max(now - one.seen_at, one.sequence * self.timing.interval)
        return ran >= self.timing.restart // 2

    def _note_lone(self, now: int) -> None:
        """Decide whether to go on alone although the other of two is heard again.

        It may not have a vote to give yet, and without ours it gets nothing, since it hears us.
        So what we hold stays ours until it grants that, or holds something itself. That is all
        there is: who goes on alone has lost what it had, and takes everything at once.
        """
        if not (self._is_of_two() and self.me in self.voters.voters):
            self.lone = False
        elif not self.kernel.open:
            # What we had is over for want of its word, and it did not have the time to go on alone.
            ended_at = self._other_of_two().ended_at
            young = ended_at and now < ended_at + self.voter.length(self.timing.restart)
            self.lone = bool(self.incumbent and young) and self._begins(now)
        elif self._goes_on_unheard(now) or self._has_third():
            self.lone = False
        elif self._silent(now) or self._begins(now):
            self.lone = True
        elif self.lone:
            peer, heard = self._other_of_two(), self._newest_of_other(now)
            granted = 0
            for end, buckets in self.holder.ends(self.voters.quorums):
                # What one granted that ended is not renewed.
                if end >= now + self.timing.interval and not peer.farewell_at:
                    granted |= buckets
            # Late for less than a lease we missed nothing that ends it: the other could not begin
            # to serve in that time.
            listened = now - self.listening_since >= self.promise_length
            served = now < self.kernel.deadline and not self.kernel.is_shut
            self.lone = (
                (listened or served)
                and not (heard and heard.held)
                and bool(self.kernel.open & ~granted)
            )
        if self.lone:
            # Or the plan would give half of all to another newcomer, which has no vote yet.
            self.ready_at = min(self.ready_at, now)

    def in_vain(self, now: int) -> bool:
        """Return whether what was said of late was not heard: by a majority, or by who speaks.

        Then it is said to everybody on the interface as well. After a loss of the link Linux asks
        for the MAC of a neighbour once a second, and holds back what it has for it: a lease is
        shorter. Who never hears us is told of in time, and then no longer a reason; and a start is
        none, or a wrong address in a file would never be noticed. But another daemon that runs as
        this node must hear us, above all before one of the two goes on alone.
        """
        if self.namesake.speaks(now=now) or (self._is_of_two() and not self.living):
            return True
        late = 3 * self.timing.interval
        if 0 < self.contact_until < now + self.timing.lease - late:
            return True
        deaf = self.deafness.deaf(now=now)
        for node, peer in self.peers.all.items():
            if peer.newest and peer.heard_at + late > now and node not in deaf:
                sent = self.holder.sent.get(peer.newest.heard_of(self.me, self.incarnation))
                if sent is None or sent[0] + late < peer.heard_at:
                    return True
        return False
