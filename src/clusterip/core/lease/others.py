"""Who else may answer packets of what this node takes, or gave away, heard or not."""

from __future__ import annotations

from clusterip.core.lease.indirect import lapsed
from clusterip.core.lease.pair import Pair
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message


class Others(Pair):
    """A node that looks at who is there: see `indirect`."""

    def _there(self, now: int) -> dict[int, Peer]:
        """Return each peer that may answer packets, heard or not."""
        strangers = self.strangers(now)
        there = {node: Peer() for node in strangers}
        for message in self.peers.lingering(strangers, now=now):
            if message.sender in there:
                there[message.sender].newest = message
        for node in self.voters.known - {self.me}:
            peer = self.peers.all.get(node) or Peer()
            if not self._is_gone(node, peer, now) and (not peer.newest or self._same(peer.newest)):
                there[node] = peer
        return there

    def strangers(self, now: int) -> set[int]:
        """Return of whom the voters tell although we do not, or no longer, listen to them.

        They are in the set before ours or the one after it: see `indirect`.
        """
        strangers = self.indirect.named(self.heard) - self.voters.known - {self.me}
        return {node for node in strangers if self._is_told_of(node, now)}

    def _is_told_of(self, node: int, now: int) -> bool:
        """Return whether a voter told of late that it heard something new of `node`."""
        for voter in self.heard:
            bound = self._bound_until(voter)
            spoke = bound - self.voter.length(self.timing.restart) if bound > now else now
            if self.indirect.told_at(voter, node) > max(0, spoke - 2 * self.promise_length):
                return True
        return False

    def lingering(self, now: int) -> list[Message]:
        """Return the newest message of each forgotten peer that may still answer packets."""
        return self.peers.lingering(self.strangers(now), now=now)

    def outrun(self, node: int, peer: Peer, now: int) -> bool:
        """Return whether others may have heard of `node`, in any incarnation, what we did not."""
        # Of two incarnations that live we hear one at most, whatever the other drains.
        twice = node in self.peers.all and self.doubled(node, now)
        return twice or self.indirect.outran(node, peer.newest, peer.heard_at)

    def _is_gone(self, node: int, peer: Peer, now: int) -> bool:
        """Return whether the lease of a peer is over, whoever still hears it: see `indirect`."""
        if peer.alive_until > now or peer.excused_until > now:
            return False
        words = {self.me: (max(peer.heard_at, self.indirect.started), now)}
        for voter, until in self._spoke_until(node).items():
            since = self.indirect.silent_since(voter, node, peer.newest, peer.heard_at)
            words[voter] = since, until
        # What they heard before a restart of their own counts for all of its grace.
        words = {
            voter: (max(since, self._bound_until(voter) - self.promise_length), until)
            for voter, (since, until) in words.items()
        }
        # Who said its grace again, and we did not hear that, goes on for the grace from then on.
        grace = peer.newest.grace if peer.newest else 0
        promise_length = self.voter.length(grace)
        return all(lapsed(quorum, words, promise_length) for quorum in self.quorums(now))

    def _spoke_until(self, node: int) -> dict[int, int]:
        """Return up to when, ns, what each voter but `node` said holds."""
        spoke = {}
        for voter, message in self.heard.items():
            sent = self.holder.sent.get(message.heard_of(self.me, self.incarnation))
            if sent and voter != node:
                spoke[voter] = sent.at
        return spoke

    def _grace_is_known(self, now: int) -> bool:
        """Return whether all who may have what drains here have heard of our grace.

        Who has not would take our silence for death, and answer what drains here: see `indirect`.
        """
        return not (self.grace and self.kernel.draining) or all(
            peer.newest
            and peer.newest.acknowledged(self.me, self.incarnation) >= self.grace_sequence
            for peer in self._there(now).values()
        )

    def _bound_until(self, voter: int) -> int:
        """Return until when, ns, what a voter heard before its own restart counts; 0 if none."""
        if voter == self.me:
            return self.lent_until
        peer = self.peers.all.get(voter)  # it may just have been removed
        return peer.bound_until if peer else 0

    def bound(self, now: int) -> dict[int, int]:
        """Return of voters in a restart until when they count to what drains here, ns.

        Who may have that, and does not know of the grace, would take our silence for death: see
        `indirect`. One that is silent for a grace of its own does so no sooner than that is over.
        """
        bindings = self.holder.bindings
        if not (self.kernel.draining and bindings):
            return {}
        there = self._there(now)
        bound = {}
        for voter, (until, sequence) in bindings.items():
            incarnation = self.peers.learn(voter).incarnation
            unknowing = {
                node
                for node, one in there.items()
                if node != voter
                if sequence
                and not (one.newest and one.newest.heard_of(voter, incarnation) >= sequence)
            }
            if unknowing <= bindings.keys():
                bound[voter] = min([until, *(bindings[node].until for node in unknowing)])
        return bound

    def told_until(self, node: int, now: int) -> int:
        """Return up to when, ns, voters enough to meet every majority told of `node`; 0: never."""
        spoke = {
            voter: until
            for voter, until in {self.me: now, **self._spoke_until(node)}.items()
            # Before, it may be that one which it heard before its restart counts on that.
            if until >= self._bound_until(voter)
        }
        times = []
        for voters, need in self.quorums(now):
            known = sorted((spoke[one] for one in voters if one in spoke), reverse=True)
            times.append(known[need - 1] if len(known) >= need else 0)
        return min(times)
