"""What a node of the lease protocol knows, and the rules that say what follows from it.

`Knowledge` is the part of a node that does nothing; `core.lease.serving` acts on it.
"""

from __future__ import annotations

from clusterip.core.lease.backoff import Backoff
from clusterip.core.lease.deafness import Deafness
from clusterip.core.lease.holder import Holder
from clusterip.core.lease.indirect import Indirect
from clusterip.core.lease.namesake import Namesake
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.orphans import Orphans
from clusterip.core.lease.peers import Peer, Peers
from clusterip.core.lease.standstill import Standstill
from clusterip.core.lease.voter import Voter
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Spoken
from clusterip.core.serving.assignment import Assignment, View
from clusterip.core.serving.flows import Flows, InheritedFlows
from clusterip.core.serving.kernel import Kernel


class NodeState:
    """The state of a node."""

    keys = 0
    """The mask of the ids of the keys that this node has."""

    def __init__(self, config: NodeConfig, *, incarnation: int, mute: int, now: int) -> None:
        self.config = config
        self.me = config.me
        self.timing = config.timing
        self.promise_length = self.timing.promise(self.timing.lease)
        self.incarnation = incarnation
        self.sequence = self.grace = 0
        self.healthy = self.link = True
        self.link_lost = 0
        self.leaving = self.incumbent = self.announced = self.answered = False
        self.weight = config.weight
        self.gone = self.stopped = False
        self.lone = False
        """Whether we serve without the other of two: `_note_lone`."""
        self.holder = Holder()
        awaited = 2 * self.timing.interval
        self.peers = Peers(self.me, self.incarnation, self.promise_length, awaited)
        self.namesake = Namesake(
            self.me, Peers(self.me, self.incarnation, self.promise_length, awaited)
        )
        self.indirect = Indirect(now)
        self.standstill = Standstill(self.timing.noise, self.promise_length)
        self.voters = VoterSet(config.voters)
        self.voter = Voter(self.timing, now + max(self.promise_length, mute))
        self.kernel = Kernel()
        self.flows = Flows(config.watch, config.keep)
        self.inherited = InheritedFlows(self.promise_length)
        self.assignment = Assignment(self.me, config.total)
        rank = sum(node < self.me for node in config.voters)
        self.orphans = Orphans(2 * self.timing.interval + rank * 4 * self.timing.gap)
        self.deafness = Deafness(self.promise_length)
        self.spoken = Spoken(config.speaks, self.promise_length)
        self.backoff = Backoff(3 * self.timing.interval, 2 * self.timing.interval * (1 + rank))
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
        self.plan_from = now + self.promise_length
        self.ready_at = now + self.timing.settle
        self.listening_since = self.last_input = self.armed = now
        self.last_sent = now - self.timing.interval
        # Of a restart; what we heard before ours counts for all of its grace, until lent_until, ns.
        self.grace_sent_at = self.grace_sequence = self.grace_ends = self.lent_until = 0
        self.changed = True
        self.advertised: tuple[object, ...] = ()

    # ---- rules, each a small method ----

    def _same(self, message: Message) -> bool:
        """Return whether the buckets of the sender are the same as ours."""
        return message.config == self.config.config

    def agrees(self, message: Message) -> bool:
        """Return whether we may grant to the sender and count its grants."""
        return self._same(message) and self.voters.near(message)

    def sent_lately(self, sequence: int, now: int) -> bool:
        """Return whether we sent that message less than L ago: who heard it hears us."""
        sent = self.holder.sent.get(sequence)
        return sent is not None and sent.at + self.timing.lease > now

    def hears_us(self, message: Message, now: int) -> bool:
        """Return whether the sender lately heard us: it echoes what we sent less than L ago.

        If it does not, any lease that our vote gave it is over, however late this comes.
        """
        echoed = message.heard_of(self.me, self.incarnation)
        if self.sent_lately(echoed, now):
            return True
        peer = self.peers.all[message.sender]
        # Nobody can have heard us, or we it, in a planned restart: of ours, or of its own.
        return (
            (echoed >= self.resumed[0] and now < self.resumed[1])
            or self._is_excused(peer, now)
        )  # fmt: skip

    def doubled(self, node: int, now: int) -> bool:
        """Return whether others hear another incarnation of `node` than the one known here.

        Its vote would count twice: of two majorities each could have one of them.
        """
        if node == self.me:
            return self.indirect.another(node, self.incarnation) > now - self.promise_length
        peer = self.peers.all[node]
        # A grace may bind whom that one heard. What was said before is of the incarnation before.
        since = max(now - self.voter.length(self.timing.restart), peer.seen_at)
        return self.indirect.another(node, peer.incarnation) > since

    def claims(self) -> bool:
        """Return whether this node serves anything, or has promised anything."""
        promised = any(promise.buckets for promise in self.voter.promises.values())
        return bool(self.kernel.open | self.kernel.draining) or promised

    def barred(self, now: int) -> bool:
        """Return whether another daemon has the vote and the place of this node: see `namesake`."""
        return now < self.namesake.barred_until

    def _is_excused(self, peer: Peer, now: int) -> bool:
        """Return whether a peer may be in a planned restart that it announced to us."""
        return peer.excused_until > max(now, peer.heard_at + self.promise_length)

    def speaking(self, now: int) -> dict[int, bool]:
        """Return of each node that is heard, proven or not, whether it hears us."""
        speaking = {}
        for node, peer in self.peers.all.items():
            if peer.newest and peer.heard_at + self.promise_length > now:
                # One that is doubled may hear us, and counts for nothing all the same.
                speaking[node] = peer.hears_us or self.doubled(node, now)
            elif peer.spoke_at and peer.spoke_at + self.promise_length > now:
                speaking[node] = False
        return speaking

    def heard_by(self, node: int, now: int) -> list[int]:
        """Return whom a node hears, as it or they said lately.

        Of one that does not prove itself it is what it says, which may be recorded: only to tell
        administrators where to look.
        """
        since = now - self.promise_length
        heard = set(self.indirect.heard_by(node, since=since))
        if peer := self.peers.all.get(node):
            heard |= peer.claims(since=since) - {self.me}
        return sorted(heard)

    def in_contact(self, now: int) -> bool:
        """Return whether a majority of the voters hears us and is heard."""
        return now < self.contact_until

    def _barred(self, now: int) -> bool:
        """Return whether we are a newcomer among those who serve what does not go with ours."""
        if self.incumbent:
            return False
        for node in self.disagreeing:
            peer = self.peers.all.get(node)
            if not (peer and peer.newest and peer.newest.held):
                continue
            # In a planned restart it is silent, and serves.
            if max(peer.heard_at + self.promise_length, peer.excused_until) > now:
                return True
        return False

    def _answer(self, now: int) -> None:
        """Give an unknown incarnation something to echo: it proves itself the sooner.

        Once each interval, for anybody may send again what was recorded of former incarnations.
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
            self.grace, self.healthy, self.leaving, self.weight, self.voters.previous,
            self.flows.said(), self.spoken.version(now=now),
        )  # fmt: skip
