"""What a node of the lease protocol knows, and the rules that say what follows from it.

`Knowledge` is the part of a node that does nothing; `core.lease.serving` acts on it.
"""

from __future__ import annotations

from clusterip.core.lease.deafness import Deafness
from clusterip.core.lease.desire import Desire, View
from clusterip.core.lease.flows import Flows, Left
from clusterip.core.lease.hearsay import Hearsay
from clusterip.core.lease.holder import Holder
from clusterip.core.lease.kernel import Kernel
from clusterip.core.lease.namesake import Namesake
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.orphans import Orphans
from clusterip.core.lease.patience import Patience
from clusterip.core.lease.peers import Peer, Peers
from clusterip.core.lease.standstill import Standstill
from clusterip.core.lease.voter import Voter
from clusterip.core.lease.voter_set import Quorum, VoterSet
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Spoken


class Knowledge:
    """The state of a node."""

    voter_class = Voter
    holder_class = Holder
    peers_class = Peers
    left_class = Left
    hearsay_class = Hearsay
    voter_set_class = VoterSet
    standstill_class = Standstill

    def __init__(self, config: NodeConfig, *, boot: int, mute: int, now: int) -> None:
        self.config = config
        self.me = config.me
        self.timing = config.timing
        self.lasting = self.timing.promise(self.timing.lease)
        self.boot = boot
        self.sequence = self.term = 0
        self.healthy = self.link = True
        self.link_lost = 0
        self.leaving = self.incumbent = self.announced = self.answered = False
        self.weight = config.weight
        self.gone = self.stopped = False
        self.lone = False
        """Whether we serve without the other of two: `_note_lone`."""
        self.holder = self.holder_class()
        awaited = 2 * self.timing.interval
        self.peers = self.peers_class(self.me, self.boot, self.lasting, awaited)
        self.namesake = Namesake(
            self.me, self.peers_class(self.me, self.boot, self.lasting, awaited)
        )
        self.hearsay = self.hearsay_class(now)
        self.standstill = self.standstill_class(self.timing.noise, self.lasting)
        self.voters = self.voter_set_class(config.voters)
        self.voter = self.voter_class(self.timing, now + max(self.lasting, mute))
        self.kernel = Kernel()
        self.flows = Flows(config.watch, config.keep)
        self.left = self.left_class(self.lasting)
        self.desire = Desire(self.me, config.total)
        rank = sum(node < self.me for node in config.voters)
        self.orphans = Orphans(2 * self.timing.interval + rank * 4 * self.timing.gap)
        self.deafness = Deafness(self.lasting)
        self.spoken = Spoken(config.speaks, self.lasting)
        self.patience = Patience(3 * self.timing.interval, 2 * self.timing.interval * (1 + rank))
        self.heard: dict[int, Message] = {}
        """The newest message of each peer that lives and can serve with us."""
        self.living: dict[int, Message] = {}
        """Those of them that hear us: the others are as good as dead to us, and we to them."""
        self.contact_until = 0
        """Until when, ns, a majority of the voters is known to hear us, and is heard."""
        self.resumed = (0, 0)
        """The sequence that a predecessor ended with, and until when none may have a newer one."""
        self.answered_at = now - self.timing.interval
        self.disagreeing: set[int] = set()
        """Peers whose newest message says that they cannot serve with us."""
        self.intent = 0
        # Before this a plan would not know who else is there.
        self.plan_from = now + self.lasting
        self.ready_at = now + self.timing.settle
        self.listening_since = self.last_input = self.armed = now
        self.last_sent = now - self.timing.interval
        # Of a restart; what we heard before ours counts for all of its term, until lent_until, ns.
        self.term_sent_at = self.term_sequence = self.term_ends = self.lent_until = 0
        self.changed = True
        self.said: tuple[object, ...] = ()

    # ---- rules, each a small method ----

    def _same(self, message: Message) -> bool:
        """Return whether the buckets of the sender are the same as ours."""
        return message.config == self.config.config

    def agrees(self, message: Message) -> bool:
        """Return whether we may grant to the sender and count its grants."""
        return self._same(message) and self.voters.near(message)

    def hears_us(self, message: Message, now: int) -> bool:
        """Return whether the sender lately heard us: it echoes what we sent less than L ago.

        If it does not, any lease that our vote gave it is over, however late this comes.
        """
        echoed = message.heard_of(self.me, self.boot)
        sent = self.holder.sent.get(echoed)
        if sent and sent.at + self.timing.lease > now:
            return True
        peer = self.peers.all[message.sender]
        # Nobody can have heard us, or we it, in a planned restart: of ours, or of its own.
        return (
            (echoed >= self.resumed[0] and now < self.resumed[1])
            or self._is_borne(peer, now)
        )  # fmt: skip

    def doubled(self, node: int, now: int) -> bool:
        """Return whether another boot of `node` than the one known here lives, as others hear it.

        Its vote would count twice: of two majorities each could have one of them.
        """
        if node == self.me:
            return self.hearsay.another(node, self.boot) > now - self.lasting
        peer = self.peers.all[node]
        # A term may bind whom that one heard. What was said before is of the boot before.
        since = max(now - self.voter.length(self.timing.restart), peer.seen_at)
        return self.hearsay.another(node, peer.boot) > since

    def claims(self) -> bool:
        """Return whether this node serves anything, or has promised anything."""
        promised = any(promise.buckets for promise in self.voter.promises.values())
        return bool(self.kernel.open | self.kernel.draining) or promised

    def barred(self, now: int) -> bool:
        """Return whether another daemon has the vote and the place of this node: see `namesake`."""
        return now < self.namesake.barred_until

    def _is_borne(self, peer: Peer, now: int) -> bool:
        """Return whether a peer may be in a planned restart that it announced to us."""
        return peer.borne_until > max(now, peer.heard_at + self.lasting)

    def speaking(self, now: int) -> dict[int, bool]:
        """Return of each node that is heard, proven or not, whether it hears us."""
        speaking = {}
        for node, peer in self.peers.all.items():
            if peer.newest and peer.heard_at + self.lasting > now:
                # One that is doubled may hear us, and counts for nothing all the same.
                speaking[node] = peer.hears_us or self.doubled(node, now)
            elif peer.spoke_at and peer.spoke_at + self.lasting > now:
                speaking[node] = False
        return speaking

    def heard_by(self, node: int, now: int) -> list[int]:
        """Return whom a node hears, as it or they said lately.

        Of one that does not prove itself it is what it says, which may be recorded: only to tell
        administrators where to look.
        """
        since = now - self.lasting
        heard = set(self.hearsay.heard_by(node, since=since))
        if peer := self.peers.all.get(node):
            heard |= peer.claims(since=since) - {self.me}
        return sorted(heard)

    def in_contact(self, now: int) -> bool:
        """Return whether a majority of the voters hears us and is heard."""
        return now < self.contact_until

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
                sent = self.holder.sent.get(peer.newest.heard_of(self.me, self.boot))
                if sent is None or sent[0] + late < peer.heard_at:
                    return True
        return False

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
        if self.voters.before or self.me not in self.voters.voters:
            return False
        if self.lone or self._silent(now):
            return True
        # It speaks but may not serve with us: who served before it came goes on.
        newest = self._other_of_two().newest
        return self.incumbent and newest is not None and not newest.held and not self.agrees(newest)

    def _other_of_two(self) -> Peer:
        return self.peers.all.get(self._name_of_other()) or Peer()

    def _name_of_other(self) -> int:
        (other,) = self.voters.voters - {self.me}
        return other

    def _silent(self, now: int) -> bool:
        """Return whether we listened to the other of two for long enough, and heard nothing."""
        peer = self._other_of_two()
        listened = now - self.listening_since
        # An unproven boot may be the other, that does not hear us: then it goes on, alone.
        if peer.spoke_at and now < peer.spoke_at + self.lasting:
            return False
        other = self._name_of_other()
        if self.namesake.may_serve(now=now) or self.namesake.hears(
            other, peer.boot, peer.sequence, now=now
        ):
            return False
        if not peer.borne_until:
            # It may be in a planned restart that it announced before we came.
            return listened >= self.voter.length(self.timing.restart)
        quiet_from = peer.borne_until
        if peer.farewell_at:
            # Whatever it had asked for before, a term too: it closed all, and so asked no more.
            quiet_from = peer.farewell_at + 3 * self.timing.interval
        return listened >= self.lasting and now >= quiet_from

    def _missed_term(self, since: int, now: int) -> bool:
        """Return whether the other of two may have announced a term since we heard nothing, ns.

        It goes on alone first: D after it heard us last; or, where it was not there, only after it
        began, and listened for the longest term.
        """
        if not self._is_of_two():
            return False
        peer = self._other_of_two()
        if max(peer.heard_at, peer.spoke_at) + self.lasting > since:
            return now - since > self.lasting - 2 * self.timing.interval
        return now - since > self.timing.restart

    def await_term(self, now: int) -> None:
        """Take the silence of the other of two for death only after the longest term."""
        begins = now + self.voter.length(self.timing.restart) - self.lasting
        self.listening_since = max(self.listening_since, begins)

    def _begins(self, now: int) -> bool:
        """Return whether the other of two hears us, and has neither a bucket nor a vote to give.

        Its daemon was started anew: its kernel answers nothing, and it does not go on alone.
        """
        peer = self._other_of_two()
        newest = peer.newest
        return bool(
            newest
            and peer.hears_us
            and peer.heard_at + self.lasting > now
            and self.agrees(newest)
            and not newest.claims
        )

    def _other_knows_of_term(self, now: int) -> bool:
        """Return whether the other of two, if it hears us, has heard of our term.

        It would take our silence for death. Who serves alone does not need its word else.
        """
        if not self.serves_alone(now):
            return True
        peer = self._other_of_two()
        # It may take us in before we do so with its new boot.
        if any(
            one.spoke_at and one.spoke_at + self.lasting > now and one.echo < self.term_sequence
            for one in peer.unproven.values()
        ):
            return False
        # In a restart of its own it is silent, and comes back.
        ended = peer.farewell_at or max(peer.heard_at + self.lasting, peer.borne_until) <= now
        if peer.newest is not None and peer.hears_us and not ended:
            return peer.newest.heard_of(self.me, self.boot) >= self.term_sequence
        # It may hear us though we do not hear it. Said again until our silence would have counted
        # as death, the term reaches it: one message may be lost, or find its link down.
        return now >= self.term_sent_at + self.lasting

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
        elif self._silent(now) or self._begins(now):
            self.lone = True
        elif self.lone:
            peer = self._other_of_two()
            heard = peer.newest if peer.heard_at + self.lasting > now else None
            granted = 0
            for end, buckets in self.holder.ends(self.voters.quorums):
                # What one granted that ended is not renewed.
                if end >= now + self.timing.interval and not peer.farewell_at:
                    granted |= buckets
            self.lone = (
                now - self.listening_since >= self.lasting
                and not (heard and heard.held)
                and bool(self.kernel.open & ~granted)
            )

    def _barred(self, now: int) -> bool:
        """Return whether we are a newcomer among those who serve what does not go with ours."""
        if self.incumbent:
            return False
        for node in self.disagreeing:
            peer = self.peers.all.get(node)
            if not (peer and peer.newest and peer.newest.held):
                continue
            # In a planned restart it is silent, and serves.
            if max(peer.heard_at + self.lasting, peer.borne_until) > now:
                return True
        return False

    def _answer(self, now: int) -> None:
        """Give an unknown boot something to echo: it proves itself the sooner.

        Once each interval, for anybody may send again what was recorded of former boots.
        """
        if now >= self.answered_at + self.timing.interval:
            self.answered_at = now
            self.changed = True

    def _may_serve(self, now: int) -> bool:
        there = self.link and not self.stopped and not self.barred(now)
        return there and self.me in self.voters.voters

    @property
    def to_remind(self) -> list[int]:
        """The nodes that this one is to say its last message to, often.

        They are silent, and may believe that they hold buckets: a machine that stood still and
        goes on must soon be shown that others went on before (`standstill`). Two of us do it.
        """
        if self.gone or self.stopped or self.me not in sorted({self.me, *self.heard})[:2]:
            return []
        return [
            node
            for node, peer in self.peers.all.items()
            if peer.newest and peer.newest.want | peer.newest.draining
            if node in self.voters.known and node not in self.heard
        ]

    def is_ready(self, now: int) -> bool:
        """Return whether this node was there for long enough to take buckets from others.

        Without a vote of its own it might not get those that they give up for it.
        """
        able = self.link and self.in_contact(now) and not self.voter.muted(now)
        return able and now >= self.ready_at

    def _view(self, now: int) -> View:
        """Return the same of this node as `view_of` does of others."""
        return (
            self.intent | self.kernel.open, self.kernel.open,
            (self.weight, self.healthy, self.leaving, self.is_ready(now)),
        )  # fmt: skip

    def _send_at(self) -> int:
        wait = self.timing.gap if self.changed else self.timing.interval
        return self.last_sent + wait

    def _saying(self, now: int) -> tuple[object, ...]:
        """Return what a message would say that is worth saying at once."""
        kernel = self.kernel
        ready = self.is_ready(now)
        return (
            self.intent | kernel.open, kernel.open, kernel.draining, ready,
            self.term, self.healthy, self.leaving, self.weight, self.voters.previous,
            self.flows.said(), self.spoken.version(now=now),
        )  # fmt: skip
