"""What a node makes of what it knows, after any input: what to serve, ask for and give up.

`Serving` is the part of a node that no message enters or leaves; `core.lease` composes it with
them and holds the safety argument.
"""

from __future__ import annotations

from typing import NamedTuple

from clusterip.core.lease_desire import Desire, View, view_of
from clusterip.core.lease_events import (
    Alarm,
    AlarmKind,
    BucketState,
    Note,
    ReadCells,
    RestartReady,
    RestartRefused,
)
from clusterip.core.lease_flows import Flows, Left
from clusterip.core.lease_holder import CONTACT, Holder
from clusterip.core.lease_kernel import Kernel
from clusterip.core.lease_patience import Patience
from clusterip.core.lease_peers import Peer, Peers
from clusterip.core.lease_voter import Voter
from clusterip.core.message import Message, buckets_of, mask_of
from clusterip.core.timing import Timing
from clusterip.core.voter_set import Quorum, VoterSet


class NodeConfig(NamedTuple):
    """What the configuration file says. `config` is the digest of the hash parameters.

    `voters` are the ids of all nodes, witnesses and this one included; `total` is 1..256
    buckets; `alive` lets the survivor of two go on alone; `weight` is 0 for a witness. `watch` and
    `keep` (ns) are how long a bucket is watched before it moves, 0 for not at all, and how long
    the flows seen then stay.
    """

    me: int
    voters: frozenset[int]
    config: int
    total: int
    timing: Timing
    alive: bool = False
    weight: int = 1
    watch: int = 0
    keep: int = 0


class Serving:
    """The state of a node, and what follows from it."""

    voter_class = Voter
    holder_class = Holder
    peers_class = Peers
    voter_set_class = VoterSet

    def __init__(self, config: NodeConfig, *, boot: int, mute: int, now: int) -> None:
        self.config = config
        self.me = config.me
        self.timing = config.timing
        self.lasting = self.timing.promise(self.timing.lease)
        self.boot = boot
        self.sequence = 0
        self.term = 0
        self.healthy = True
        self.leaving = False
        self.weight = config.weight
        self.link = True
        self.gone = False
        self.stopped = False
        self.incumbent = False
        self.lone = False
        """Whether we serve without the other of two: `_note_lone`."""
        self.keeping = False
        self.holder = self.holder_class()
        self.peers = self.peers_class(self.me, self.boot)
        self.voters = self.voter_set_class(config.voters)
        self.voter = self.voter_class(self.timing, now + max(self.lasting, mute))
        self.kernel = Kernel()
        self.flows = Flows(config.watch, config.keep)
        self.left = Left()
        self.desire = Desire(self.me, config.total)
        self.patience = Patience(
            2 * self.lasting,
            2 * self.timing.interval * (1 + sum(node < self.me for node in config.voters)),
        )
        self.living: dict[int, Message] = {}
        self.disagreeing: set[int] = set()
        """Peers whose newest message says that they cannot serve with us."""
        self.intent = 0
        # Before this a plan would not know who else is there.
        self.plan_from = now + self.lasting
        self.ready_at = now + self.timing.settle
        self.listening_since = now
        self.last_input = now
        self.last_sent = now - self.timing.interval
        self.term_sent_at = 0
        self.term_sequence = 0
        self.term_ends = 0
        self.announced = False
        self.answered = False
        self.changed = True
        self.said: tuple[object, ...] = ()
        self.armed = now

    # ---- rules, each a small method ----

    def _same(self, message: Message) -> bool:
        """Return whether the buckets of the sender are the same as ours."""
        return message.config == self.config.config

    def agrees(self, message: Message) -> bool:
        """Return whether we may grant to the sender and count its grants."""
        return self._same(message) and self.voters.near(message)

    def quorums(self, now: int) -> list[Quorum]:
        """Return the sets of voters and how many of each must grant."""
        if self.config.alive and len(self.voters.voters) == 2 and self._alone(now):
            return [(frozenset({self.me}), 1)]
        return self.voters.quorums

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
        (other,) = self.voters.voters - {self.me}
        return self.peers.all.get(other) or Peer()

    def _silent(self, now: int) -> bool:
        """Return whether we listened to the other of two for long enough, and heard nothing."""
        peer = self._other_of_two()
        listened = now - self.listening_since
        if not peer.borne_until:
            # It may be in a planned restart that it announced before we came.
            return listened >= self.voter.length(self.timing.restart)
        # An unproven boot may be the other, come back: it gets the time to prove itself, once.
        return listened >= self.lasting and now >= max(
            peer.borne_until, peer.marked_at + self.lasting
        )

    def _note_lone(self, now: int) -> None:
        """Decide whether to go on alone although the other of two is heard again.

        It may not have a vote to give yet, and without ours it gets nothing, since it hears us.
        So what we hold stays ours until it grants that, or holds something itself; but nothing
        more is opened by our vote alone, for it might think as we do.
        """
        alive = self.config.alive and len(self.voters.voters) == 2
        if not (alive and self.kernel.open and self.me in self.voters.voters):
            self.lone = self.keeping = False
            return
        self.keeping = not self._silent(now)
        if not self.keeping:
            self.lone = True
        elif self.lone:
            peer = self._other_of_two()
            heard = peer.newest if peer.heard_at + self.lasting > now else None
            granted = 0
            for end, buckets in self.holder.ends(self.voters.quorums):
                if end >= now + self.timing.interval:
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
            if peer and peer.newest and peer.newest.held and peer.heard_at + self.lasting > now:
                return True
        return False

    def _contested(self) -> int:
        """Return the mask of buckets that some voter grants to another, and nobody holds.

        Who lives and holds one gives it up when it is ready to.
        """
        held = 0
        for message in self.living.values():
            held |= message.held
        return self._granted_to_others() & ~held

    def _granted_to_others(self) -> int:
        mask = self.voter.taken & ~self.voter.granted((self.me, self.boot))
        for message in self.living.values():
            for node, buckets in message.grants:
                if node != self.me:
                    mask |= buckets
        return mask

    def _passed_on(self, now: int) -> list[tuple[int, int]]:
        """Return the masks of buckets whose desired owner lives, asks for them and hears us.

        With each goes the newest of our messages that this owner has heard.
        """
        found = []
        for node, message in self.living.items():
            if message.want & self.kernel.open:
                heard = message.heard_of(self.me, self.boot)
                sent = self.holder.sent.get(heard)
                if sent and sent[0] + self.timing.lease > now:
                    going = message.want & self.desire.of.get(node, 0) & self.kernel.open
                    found.append((going, heard))
        return found

    def _pass_on(self, now: int) -> None:
        """Watch what is to go, and let go what was watched for long enough."""
        kernel, flows = self.kernel, self.flows
        going = ready = 0
        for buckets, heard in self._passed_on(now):
            going |= buckets
            # What is being taken goes at once: its flows are not all ours to keep.
            settled = flows.settled(buckets, heard) if flows.watch else buckets
            ready |= settled | buckets & kernel.taking
        flows.keep_only(going)
        if kernel.watching & ~going:
            kernel.put(kernel.watching & ~going, BucketState.OWNED)
        if ready:
            kernel.put(ready, BucketState.DRAINING, flows.give(ready, now=now))
        if flows.watch and (new := flows.begin(going & kernel.owned, now=now)):
            kernel.put(new, BucketState.WATCHING)
        over = flows.seen_enough(now=now)
        if over:
            kernel.put(mask_of(over), BucketState.OWNED)
            kernel.events.append(ReadCells(tuple(over)))

    def _may_serve(self) -> bool:
        return self.link and not self.stopped and self.me in self.voters.voters

    # ---- after any input ----

    def _settle(self, now: int) -> None:
        self._wake(now)
        self.voter.expire(now=now)
        self._give(now)
        self.living = self.peers.living(now=now)
        if self.term and now >= self.term_ends:
            # Our note covers no term announced later.
            self.kernel.events.append(RestartRefused(self.term))
            self._set_term(0, now)
        if self.voters.before and self.voters.settled(self.living, self.me):
            self.voters = self.voter_set_class(self.voters.voters)
            self.peers.keep(self.voters.known)
            self.changed = True
        self._note_lone(now)
        ends = self.holder.ends(self.quorums(now))
        self._lapse(ends, now)
        self.flows.keep_only(0 if self.term else self.kernel.open)
        for bucket in self.flows.over(self.kernel.draining, now=now):
            self.kernel.set_cells(bucket, 0)
        if self.term and self.kernel.watching:
            self.kernel.put(self.kernel.watching, BucketState.OWNED)
        if not self._may_serve():
            self.intent = 0
            if self.kernel.open | self.kernel.draining:
                self.kernel.put(self.kernel.open | self.kernel.draining, BucketState.NONE)
        else:
            if now >= self.plan_from:
                views = {node: view_of(message) for node, message in self.living.items()}
                views[self.me] = self._view(now)
                self.desire.update(views)
                if not self.term:
                    self._pass_on(now)
                    self.intent = self.kernel.open
                    if not self._barred(now):
                        self.intent |= self.desire.mine & ~self.patience.yielded(
                            self.desire.mine & ~self.kernel.open, self._contested, now=now
                        )
            self._use(ends, now)
        self.changed |= self.said != self._saying(now)

    def _give(self, now: int) -> None:
        """Grant what is free to those who ask."""
        if not self._barred(now):
            self.changed |= self.voter.give(now=now)

    def _lapse(self, ends: list[tuple[int, int]], now: int) -> None:
        """Clear what is not ours any more, and what would hold the others back."""
        kernel = self.kernel
        good = 0
        best = 0
        for end, buckets in ends:
            if buckets & kernel.open and not best:
                best = end
            lags = end < now + self.timing.interval and end + self.timing.interval < best
            if end > now and not (lags and buckets & kernel.open):
                good |= buckets
        lost = kernel.open & ~good
        if lost:
            if lost == kernel.open:
                self._newcomer(now)
            kernel.put(lost, BucketState.NONE)
        if kernel.draining and not good & CONTACT:
            kernel.put(kernel.draining, BucketState.NONE)

    def _use(self, ends: list[tuple[int, int]], now: int) -> None:
        """Move the deadline, then open what became ours."""
        kernel = self.kernel
        # A lease about to end is not worth opening, and would end those of the others.
        fresh = 0
        for end, buckets in ends:
            if end >= now + self.timing.interval:
                fresh |= buckets
        opening = self.intent & self.holder.said & fresh & ~kernel.open
        if now < self.plan_from or (self.lone and self.keeping):
            opening = 0  # we would not know of a living peer that drains, or holds it
        serving = kernel.open | opening
        deadline = min(
            (end for end, buckets in ends if buckets & (serving or CONTACT)),
            default=kernel.deadline,
        )
        if deadline != kernel.deadline and (serving | kernel.draining):
            kernel.limit(deadline)
        self._open(opening, now)
        self._await_term(deadline)

    def _open(self, opening: int, now: int) -> None:
        """Open what became ours, and leave alone what others may still answer of it."""
        kernel = self.kernel
        awaited = self.peers.awaited(now=now)
        outran = self.peers.outran(now=now)
        left = self.left.look(
            kernel.taking,
            opening,
            [one for one in self.peers.proven(now=now) if self._same(one)],
            outrun=awaited or any(one is None or self._same(one) for one in outran),
        )
        others = mask_of(left)
        if now >= self.plan_from and not awaited:
            if kernel.taking & ~others:
                kernel.put(kernel.taking & ~others, BucketState.OWNED)
            for bucket in buckets_of(kernel.taking):
                kernel.set_cells(bucket, left[bucket])
        if opening:
            self.incumbent = True
            if opening & others:
                kernel.put(opening & others, BucketState.TAKING, left)
            if opening & ~others:
                kernel.put(opening & ~others, BucketState.OWNED)

    def _await_term(self, deadline: int) -> None:
        """Say when the kernel may go on alone for the term that was announced."""
        if self.announced and not self.answered and deadline - self.term >= self.term_sent_at:
            for message in self.living.values():
                # Who took what drains here must not take our silence for death.
                if message.held & self.kernel.draining:
                    heard = message.heard_of(self.me, self.boot)
                    if heard < self.term_sequence:
                        return
            self.answered = True
            self.kernel.events.append(RestartReady(deadline))

    def _set_term(self, term: int, now: int) -> None:
        """Announce a term, or no more; the note that covers it ends with `term_ends`."""
        self.term = term
        self.term_ends = now + self.lasting
        self.announced = False
        self.answered = False

    def is_ready(self, now: int) -> bool:
        """Return whether this node was there for long enough to take buckets from others.

        Without a vote of its own it might not get those that they give up for it.
        """
        return self.link and now >= self.ready_at and not self.voter.muted(now)

    def _newcomer(self, now: int) -> None:
        self.ready_at = now + self.timing.settle

    def _wake(self, now: int) -> None:
        """Notice that we did not run: nobody was silent then, it was us who did not listen."""
        late = now - self.armed
        if late > self.timing.lease // 4:
            self.armed = now  # said once
            self.kernel.events.append(Alarm(AlarmKind.STARVED, 0, late))
        if now - self.last_input > 2 * self.timing.interval:
            self._listen(now)
        self.last_input = now

    def _listen(self, now: int) -> None:
        self.listening_since = now
        self.plan_from = max(self.plan_from, now + 3 * self.timing.interval)

    def _note(self, until: int) -> None:
        self.kernel.events.append(Note(until))

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
            self.flows.said(kernel.open | kernel.draining),
        )  # fmt: skip
