"""Deliberate bugs in what nodes make of what others tell them: as in `mutants`."""

from __future__ import annotations

from clusterip.core.lease.flows import Left
from clusterip.core.lease.hearsay import Hearsay
from clusterip.core.lease.node import Node
from clusterip.core.messages.message import Message


class NothingTold(Hearsay):
    """What a node drains that is not heard here, nobody tells."""

    def relayed(self, node: int, newest: Message | None) -> int:
        return 0


class TellsOfAnybody(Hearsay):
    """What one of another configuration tells of drains counts."""

    def take(self, message: Message, *, same: bool = True, now: int) -> None:
        super().take(message, now=now)


class ToldAtOnce(Left):
    """What others tell counts, however old it may be."""

    def __init__(self, lasting: int) -> None:
        super().__init__(-1000 * lasting)


class KnowsAllAgain(Left):
    """After a planned restart what was being taken is not looked after."""

    def restore(self, taking: int, *, now: int) -> None:
        pass


class NodeNothingTold(Node):
    hearsay_class = NothingTold


class NodeTellsOfAnybody(Node):
    hearsay_class = TellsOfAnybody


class NodeToldAtOnce(Node):
    left_class = ToldAtOnce


class NodeKnowsAllAgain(Node):
    left_class = KnowsAllAgain
