"""Deliberate bugs in what a node does with its buckets, and when."""

from __future__ import annotations

from collections import deque

from clusterip.core.lease.holder import DRAINS
from clusterip.core.lease.node import Node
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Action
from tests.sim.world import MS

_FOREVER = 1 << 62


class NodeDrainsOn(Node):
    """A drain goes on without contact to a majority."""

    def _lapse(self, ends: list[tuple[int, int]], now: int) -> None:
        super()._lapse([*ends, (_FOREVER, DRAINS)], now)

    def next_timer(self) -> int:
        return max(super().next_timer(), self.last_input + MS)


class NodeBindsUnknown(Node):
    """A voter that restarts counts for its grace, whoever knows of that."""

    def bound(self, now: int) -> dict[int, int]:
        return {voter: until for voter, (until, _) in self.holder.bindings.items()}


class NodeLatestLease(Node):
    """The deadline is that of the lease that ends last."""

    def _deadline(self, ends: list[int]) -> int:
        return max(ends, default=self.kernel.deadline)


class NodeSaysFirst(Node):
    """A message says that a bucket is released before the kernel has closed it."""

    early = False

    def _settle(self, now: int) -> None:
        super()._settle(now)
        self.early = True

    def next_action(self) -> Action | None:
        event = None if self.early else super().next_action()
        self.early = False
        return event

    def message_to_send(self, *, now: int) -> Message | None:
        events, self.kernel.actions = self.kernel.actions, deque()
        message = super().message_to_send(now=now)
        self.kernel.actions.extendleft(reversed(events))
        if message is None:
            self.early = False
        return message


class NodePlansAtOnce(Node):
    """A plan is made before it is known who is there."""

    def _settle(self, now: int) -> None:
        self.plan_from = 0
        super()._settle(now)


class NodeTermUnknown(Node):
    """A restart does not wait for those who would take its silence for death."""

    def _grace_is_known(self, now: int) -> bool:
        return True
