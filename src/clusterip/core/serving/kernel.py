"""What the kernel was told, and what it is still to be told, in order.

Buckets are closed before the deadline moves, and opened after it: so a bucket that lapsed is
never opened again by a deadline meant for others, and a bucket with a shorter lease never lives
on the longer one of others. The runtime may die between any two events. The flow slots of a bucket
never change while they decide, but to what closes more: see `put`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clusterip.core.buckets import buckets_of
from clusterip.core.serving.actions import (
    Action,
    BucketState,
    SetBucket,
    SetDeadline,
    SetFlowSlots,
    SetLead,
)

_NO_FLOW_SLOTS: Final[Mapping[int, int]] = MappingProxyType({})
_USING_FLOW_SLOTS: Final = {BucketState.TAKING, BucketState.DRAINING, BucketState.WATCHING}


class Kernel:
    """One group as the kernel knows it once all `events` are taken."""

    def __init__(self, owned: int = 0, taking: int = 0, draining: int = 0, until: int = 0) -> None:
        self.owned = owned
        self.taking = taking
        self.watching = 0
        """The mask of those owned that are watched."""
        self.open = owned | taking
        """The mask of buckets in use."""
        self.draining = draining
        self.deadline = until
        self.is_shut = False
        self.flow_slots: dict[int, int] = {}
        """Bucket -> its flow slots, where they were told."""
        self.leads: dict[int, tuple[int, int]] = {}
        """Node -> incarnation and lead, where they were told."""
        self.actions: deque[Action] = deque()

    def reset(self, total: int) -> None:
        """Clear all there may be: the first act of a start without hand-over."""
        self.put((1 << total) - 1, BucketState.NONE)
        self.limit(0)

    def put(
        self, buckets: int, state: BucketState, flow_slots: Mapping[int, int] = _NO_FLOW_SLOTS
    ) -> None:
        """Put `buckets` into `state`, with `flow slots` by bucket, none where not named."""
        if state in _USING_FLOW_SLOTS:
            # Other flow slots under the old state would open what is another host's.
            for bucket in buckets_of(buckets & (self.taking | self.draining)):
                self.actions.append(SetBucket(bucket, BucketState.NONE))
            for bucket in buckets_of(buckets):
                self.flow_slots.pop(bucket, None)
                self.set_flow_slots(bucket, flow_slots.get(bucket, 0))
        self.owned &= ~buckets
        self.watching &= ~buckets
        self.taking &= ~buckets
        self.draining &= ~buckets
        if state in {BucketState.OWNED, BucketState.WATCHING}:
            self.owned |= buckets
            if state is BucketState.WATCHING:
                self.watching |= buckets
        elif state is BucketState.TAKING:
            self.taking |= buckets
        elif state is BucketState.DRAINING:
            self.draining |= buckets
        self.open = self.owned | self.taking
        self.actions.extend(SetBucket(bucket, state) for bucket in buckets_of(buckets))

    def set_flow_slots(self, bucket: int, flow_slots: int) -> None:
        """Set the flow slots of a bucket, if they are not known to be these."""
        if self.flow_slots.get(bucket) != flow_slots:
            self.flow_slots[bucket] = flow_slots
            self.actions.append(SetFlowSlots(bucket, flow_slots))

    def limit(self, deadline: int) -> None:
        """Set the deadline."""
        sooner = 0 < deadline < self.deadline
        self.deadline = deadline
        if not self.is_shut:
            self.actions.append(SetDeadline(deadline, sooner))

    def shut(self) -> None:
        """Let nothing be answered, whatever the deadline is, until `unshut`."""
        self.is_shut = True
        self.actions.append(SetDeadline(0, sooner=False))

    def unshut(self) -> None:
        """Let the deadline count again."""
        self.is_shut = False
        self.actions.append(SetDeadline(self.deadline, sooner=False))

    def follow(self, node: int, incarnation: int, ahead: int, *, slack: int) -> None:
        """Tell the lead of a node's clock, ns, if it is not known to `slack`, ns."""
        known = self.leads.get(node)
        if known is None or known[0] != incarnation or abs(known[1] - ahead) > slack:
            self.leads[node] = incarnation, ahead
            self.actions.append(SetLead(node, incarnation, ahead, slack))
