"""Deliberate bugs in what nodes know of one another, and make of it."""

from __future__ import annotations

from collections.abc import Container, Iterable

from clusterip.core.lease.holder import Holder
from clusterip.core.lease.indirect import Indirect
from clusterip.core.lease.node import Node
from clusterip.core.lease.peers import Peer, Peers, Unproven
from clusterip.core.lease.standstill import Standstill
from clusterip.core.messages.message import Heard, Message
from clusterip.core.serving.actions import Action, SetLead
from clusterip.core.serving.flows import InheritedFlows


class AcceptsOldBoots(Peers):
    """An incarnation that never echoed us counts, and is new though the one before spoke since."""

    def proves(self, message: Message, mark: int) -> bool:
        return True

    def replaces(self, message: Message, unproven: Unproven, heard_at: int, *, now: int) -> bool:
        return True


class ForgetsBindings(Peers):
    """What a voter heard before its restart counts no longer than what others did."""

    def accept(
        self, message: Message, *, hears_us: bool, alive_until: int, excused_until: int, now: int
    ) -> None:
        super().accept(
            message,
            hears_us=hears_us,
            alive_until=alive_until,
            excused_until=excused_until,
            now=now,
        )
        self.all[message.sender].bound_until = 0


class LoneListener(Indirect):
    """Who is not heard here is taken for dead, whatever others hear."""

    def silent_since(self, voter: int, node: int, newest: Message | None, heard_at: int) -> int:
        return 0


class NeverOutrun(Indirect):
    """What others have heard, and this node has not, is nothing to it; nor is a bucket's holder."""

    def outran(self, node: int, newest: Message | None, heard_at: int) -> bool:
        return False


class TakesUntold(InheritedFlows):
    """Of a bucket that another held when last heard, everything is answered."""

    @staticmethod
    def left_to(bucket: int, messages: Iterable[Message]) -> int | None:
        return InheritedFlows.left_to(bucket, [one._replace(held=0) for one in messages])


class TakesAll(InheritedFlows):
    """Nothing is left alone but what has a socket."""

    @staticmethod
    def left_to(bucket: int, messages: Iterable[Message]) -> int | None:
        flow_slots = InheritedFlows.left_to(bucket, messages)
        return flow_slots and 0


class NeverStoodStill(Standstill):
    """What the others' clocks show is nothing to the leases."""

    def heed(self, node: int, incarnation: int, clock: int, *, now: int) -> int:
        super().heed(node, incarnation, clock, now=now)
        return 0


class BelievesTheRest(Holder):
    """Only what was noticed of a standstill is taken off: what waits behind it still renews."""

    def doubt(self) -> None:
        self.doubted = frozenset()


class NothingTold(Indirect):
    """What a node drains that is not heard here, nobody tells."""

    def relayed(self, node: int, newest: Message | None) -> int:
        return 0


class TellsOfAnybody(Indirect):
    """What one of another configuration tells of drains counts."""

    def take(self, message: Message, *, same: bool = True, now: int) -> None:
        super().take(message, now=now)


class ToldAtOnce(InheritedFlows):
    """What others tell counts, however old it may be."""

    def __init__(self, promise_length: int) -> None:
        super().__init__(-1000 * promise_length)


class KnowsAllAgain(InheritedFlows):
    """After a planned restart what was being taken is not looked after."""

    def restore(self, taking: int, *, now: int) -> None:
        pass


class NotAskedFor(InheritedFlows):
    """Who asked for a bucket when last heard has not had it since."""

    def _known(self, bucket: int, messages: list[Message]) -> list[Message]:
        return messages


class ForgetsFormer(Peers):
    """Who was removed is forgotten at once."""

    def lingering(self, told: Container[int] = (), *, now: int) -> list[Message]:
        return []


class ForgetsTold(Peers):
    """Who was removed is forgotten in time, though others still hear it."""

    def lingering(self, told: Container[int] = (), *, now: int) -> list[Message]:
        return super().lingering(now=now)


class NamesNobodyRemoved(Peers):
    """Who was removed is not told of, though it may answer packets yet."""

    def owed(self, *, silent_since: int, now: int) -> tuple[Heard, ...]:
        owed = super().owed(silent_since=silent_since, now=now)
        return tuple(one for one in owed if one.node in self.all)


class NodeHeedsNoNamesake(Node):
    """That another daemon runs as this node is nothing to it."""

    def bar(self, *, now: int) -> None:
        pass


class NodeForgetsBindings(Node):
    peers_class = ForgetsBindings


class NodeAnyConfig(Node):
    """Hash parameters need not be equal."""

    def agrees(self, message: Message) -> bool:
        return self.voters.near(message)


class NodeOldBoots(Node):
    peers_class = AcceptsOldBoots


class NodeLoneListener(Node):
    indirect_class = LoneListener


class NodeTakesUntold(Node):
    indirect_class = NeverOutrun
    inherited_class = TakesUntold


class NodeTakesAll(Node):
    inherited_class = TakesAll


class NodeNeverStoodStill(Node):
    standstill_class = NeverStoodStill


class NodeKernelUntold(Node):
    """The kernel does not know the others' clocks: it waits for the daemon."""

    def next_action(self) -> Action | None:
        event = super().next_action()
        while isinstance(event, SetLead):
            event = super().next_action()
        return event


class NodeBelievesOldest(Node):
    """Messages that came together are believed one by one."""

    def heed(self, messages: Iterable[Message], *, now: int) -> None:
        some = list(messages)
        if len(some) == 1:
            super().heed(some, now=now)


class NodeBelievesTheRest(Node):
    holder_class = BelievesTheRest


class NodeNothingTold(Node):
    indirect_class = NothingTold


class NodeTellsOfAnybody(Node):
    indirect_class = TellsOfAnybody


class NodeToldAtOnce(Node):
    inherited_class = ToldAtOnce


class NodeKnowsAllAgain(Node):
    inherited_class = KnowsAllAgain


class NodeNotAskedFor(Node):
    inherited_class = NotAskedFor


class NodeForgetsFormer(Node):
    peers_class = ForgetsFormer


class NodeForgetsTold(Node):
    peers_class = ForgetsTold


class NodeKnowsNoStranger(Node):
    """Who is not in this node's set of voters has nothing that comes to it."""

    def strangers(self, now: int) -> set[int]:
        return set()


class NodeNamesNobodyRemoved(Node):
    peers_class = NamesNobodyRemoved


class NodeToldInRestart(Node):
    """What others tell counts of one in a planned restart, too; and what one does that had one."""

    def _is_excused(self, peer: Peer, now: int) -> bool:
        return False

    def _bound_until(self, voter: int) -> int:
        return 0


class NodeOneTerm(Node):
    """Counts a grace from the first message alone that says it."""

    def _is_gone(self, node: int, peer: Peer, now: int) -> bool:
        newest = peer.newest
        peer.newest = newest._replace(grace=0) if newest else None
        try:
            return super()._is_gone(node, peer, now)
        finally:
            peer.newest = newest
