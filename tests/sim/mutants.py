"""Deliberate bugs, each one small rule overridden, and the kind of story that finds it soonest.

The stories are random like all others: only what happens, and how often, is chosen so that the
rule in question is put to the test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from clusterip.core.lease.events import Event, SetLead
from clusterip.core.lease.flows import Left
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.hearsay import Hearsay
from clusterip.core.lease.holder import Holder
from clusterip.core.lease.node import Node
from clusterip.core.lease.peers import Peers
from clusterip.core.lease.standstill import Standstill
from clusterip.core.lease.timing import DEFAULT, Timing
from clusterip.core.lease.voter import Promise, Voter
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message
from tests.sim.host import Host
from tests.sim.schedule import Story
from tests.sim.told import NodeKnowsAllAgain, NodeNothingTold, NodeTellsOfAnybody
from tests.sim.world import MS, SECOND


class LeaseFromReply(Holder):
    """The lease is counted from when the grant arrives."""

    def starts(self, sent_at: int, now: int) -> int:
        return now


class ShortPromise(Voter):
    """D is below L."""

    def length(self, term: int) -> int:
        return super().length(term) - self.timing.lease // 3


class LateGrantRevives(Holder):
    """A grant counts whatever was released since the message it acknowledges."""

    def asked_by(self, sequence: int) -> int:
        return self.said


class GivesAwayEarly(Voter):
    """A bucket is given to whoever asks, released or not."""

    def free(self) -> int:
        return -1

    def give(self, *, now: int) -> bool:
        given = super().give(now=now)
        last: Promise | None = None
        for promise in self.promises.values():
            if last:
                last.buckets &= ~promise.wants
            last = promise
        return given


class NeverMute(Voter):
    """A voter that lost its memory grants at once."""

    def muted(self, now: int) -> bool:
        return False


class IgnoresTerm(Voter):
    """A voter does not wait longer for a planned restart."""

    def length(self, term: int) -> int:
        return super().length(0)


class TakesAnySet(VoterSet):
    """Voter sets any distance apart work together."""

    def one_apart(self, following: frozenset[int]) -> bool:
        return True

    def successor(self, voters: Iterable[int], newest: dict[int, Message], me: int) -> VoterSet:
        return TakesAnySet(voters)

    def near(self, message: Message) -> bool:
        return True


class AcceptsOldBoots(Peers):
    """A boot id that never echoed us counts."""

    def proves(self, message: Message, mark: int) -> bool:
        return True


class LoneListener(Hearsay):
    """Who is not heard here is taken for dead, whatever others hear."""

    def silent_since(self, voter: int, node: int, newest: Message | None, heard_at: int) -> int:
        return 0


class NeverOutrun(Hearsay):
    """What others have heard, and this node has not, is nothing to it; nor is a bucket's holder."""

    def outran(self, node: int, newest: Message | None, heard_at: int) -> bool:
        return False


class TakesUntold(Left):
    """Of a bucket that another held when last heard, everything is answered."""

    @staticmethod
    def left_to(bucket: int, messages: Iterable[Message]) -> int | None:
        return Left.left_to(bucket, [one._replace(held=0) for one in messages])


class TakesAll(Left):
    """Nothing is left alone but what has a socket."""

    @staticmethod
    def left_to(bucket: int, messages: Iterable[Message]) -> int | None:
        cells = Left.left_to(bucket, messages)
        return cells and 0


class NeverStoodStill(Standstill):
    """What the others' clocks show is nothing to the leases."""

    def heed(self, node: int, boot: int, clock: int, *, now: int) -> int:
        super().heed(node, boot, clock, now=now)
        return 0


class NodeNeverStoodStill(Node):
    standstill_class = NeverStoodStill


class NodeKernelUntold(Node):
    """The kernel does not know the others' clocks: it waits for the daemon."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        while isinstance(event, SetLead):
            event = super().next_event()
        return event


class NodeBelievesOldest(Node):
    """Messages that came together are believed one by one."""

    def heed(self, messages: Iterable[Message], *, now: int) -> None:
        some = list(messages)
        if len(some) == 1:
            super().heed(some, now=now)


class BelievesTheRest(Holder):
    """Only what was noticed of a standstill is taken off: what waits behind it still renews."""

    def doubt(self) -> None:
        self.doubted = frozenset()


class NodeBelievesTheRest(Node):
    holder_class = BelievesTheRest


class NodeFromReply(Node):
    holder_class = LeaseFromReply


class NodeShortPromise(Node):
    voter_class = ShortPromise


class NodeLateGrant(Node):
    holder_class = LateGrantRevives


class NodeGivesEarly(Node):
    voter_class = GivesAwayEarly


class NodeNeverMute(Node):
    voter_class = NeverMute


class NodeIgnoresTerm(Node):
    voter_class = IgnoresTerm


class NodeForgetsGrants(Node):
    """A planned restart does not take up the grants it gave."""

    def _remember(self, old: HandOver) -> None:
        self.voter.mute_until = old.mute_until


class NodeAnySet(Node):
    voter_set_class = TakesAnySet


class NodeAnyConfig(Node):
    """Hash parameters need not be equal."""

    def agrees(self, message: Message) -> bool:
        return self.voters.near(message)


class NodeOldBoots(Node):
    peers_class = AcceptsOldBoots


class NodeLoneListener(Node):
    hearsay_class = LoneListener


class NodeTakesUntold(Node):
    hearsay_class = NeverOutrun
    left_class = TakesUntold


class NodeTakesAll(Node):
    left_class = TakesAll


class Majority(Story):
    """Three to five voters, default timing, one trouble after the other."""

    pace = 120 * MS
    troubles = 5 * SECOND

    def timing(self) -> Timing:
        return DEFAULT

    def size(self) -> tuple[int, int, bool]:
        return self.random.choice((3, 3, 4, 5)), 0, False


class Slow(Majority):
    """Messages and acknowledgements come late, and hosts are cut off."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.gale, self.gag, self.gag, self.clear]

    def gale(self) -> None:
        self.world.weather.late = 0.8
        self.world.weather.latest = 1500 * MS

    def gag(self) -> None:
        """Let one host hear all and be heard by none."""
        gagged = self.host().id
        pairs = {(gagged, name) for name in self.world.hosts}
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)


class Fickle(Majority):
    """Buckets are given back and asked for again by a host that hears all of it late."""

    pace = 60 * MS

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.slow_down, self.drain, self.drain, self.drain, self.reweigh]

    def slow_down(self) -> None:
        lag = self.random.randrange(100 * MS, 400 * MS)
        self.world.weather.lag = {self.host().id: lag}


class Estranged(Majority):
    """Two of three do not hear each other, and the third forgets."""

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def estrange(self) -> None:
        """Cut two hosts from one another for a while; soon after, something befalls the third."""
        one, other, third = self.random.sample(sorted(self.world.hosts), 3)
        pairs = {(one, other), (other, one)}
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)
        self.later(1500 * MS, self.befall, self.world.hosts[third])

    def befall(self, host: Host) -> None:
        raise NotImplementedError


class Crashing(Estranged):
    """The third dies and comes back at once."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.estrange, self.reweigh]

    def befall(self, host: Host) -> None:
        if host.node is not None:
            self.world.crash(host)
            self.later(60 * MS, self.world.start, host)


class Restarting(Estranged):
    """The third is restarted as planned, and so are others."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.estrange, self.estrange, self.restart, self.split]

    def befall(self, host: Host) -> None:
        self.world.tell(host, lambda node, now: node.prepare_restart(now=now))
        host.restarting = host.node is not None


class Replaying(Majority):
    """Daemons come and go, and an eavesdropper repeats what they said."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.replay, self.replay, self.die, self.reweigh, self.health]

    def run(self) -> int:
        self.world.recorded = deque(maxlen=400)
        return super().run()

    def die(self) -> None:
        host = self.host()
        if host.node is not None:
            self.world.crash(host)
            self.later(60 * MS, self.world.start, host)


class Leaping(Majority):
    """The file grows by two voters at once, host by host."""

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.leap, self.leap, self.split, self.clear]

    def leap(self) -> None:
        further = frozenset(range(1, 6))
        for name in (4, 5):
            if name not in self.world.hosts:
                self.world.start(self.world.add(further, name))
        host = self.host()
        if host.node is not None:
            self.world.set_voters(host, further)

    def heal(self) -> None:
        """Take the change back."""
        for host in self.world.hosts.values():
            host.voters = self.target
            host.removed = host.id not in self.target
            if host.removed:
                self.world.crash(host)
            elif host.node is None or host.node.voters.voters != self.target:
                self.reconfigure(host, 1)
        super().heal()


class Reconfiguring(Majority):
    """Hosts are started with other hash parameters, one after the other."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.mistake, self.mistake, self.split, self.clear]


class Deaf(Majority):
    """Buckets move, and one host no longer hears another, which the others do."""

    pace = 150 * MS

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.drain, self.reweigh, self.deafen, self.deafen]

    def deafen(self) -> None:
        one, other = self.random.sample(sorted(self.world.hosts), 2)
        self.world.weather.cut.add((one, other))
        self.later(2500 * MS, self.world.weather.cut.discard, (one, other))


class Lossy(Majority):
    """Buckets move, and messages are lost: of five, three may grant what the taker missed."""

    def size(self) -> tuple[int, int, bool]:
        return 5, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.drain, self.drain, self.reweigh, self.storm]

    def storm(self) -> None:
        self.world.weather.loss = self.random.choice((0.2, 0.4))


class Frozen(Majority):
    """Machines are paused and go on, at times when their leases end at different moments."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.freeze, self.freeze, self.drain, self.reweigh, self.storm]

    def storm(self) -> None:
        self.world.weather.loss = self.random.choice((0.0, 0.3))


MUTANTS: list[tuple[type[Node], type[Story]]] = [
    (NodeFromReply, Slow),
    (NodeShortPromise, Slow),
    (NodeLateGrant, Fickle),
    (NodeGivesEarly, Majority),
    (NodeNeverMute, Crashing),
    (NodeIgnoresTerm, Restarting),
    (NodeForgetsGrants, Restarting),
    (NodeAnySet, Leaping),
    (NodeAnyConfig, Reconfiguring),
    (NodeOldBoots, Replaying),
    (NodeLoneListener, Deaf),
    (NodeTakesUntold, Lossy),
    (NodeTakesAll, Fickle),
    (NodeNeverStoodStill, Frozen),
    (NodeKernelUntold, Frozen),
    (NodeBelievesOldest, Frozen),
    (NodeBelievesTheRest, Frozen),
    (NodeNothingTold, Deaf),
    (NodeTellsOfAnybody, Reconfiguring),
    (NodeKnowsAllAgain, Restarting),
]
