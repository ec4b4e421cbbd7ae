"""What the kernel was told, and what it is still to be told, in order.

Buckets are closed before the deadline moves, and opened after it: so a bucket that lapsed is
never opened again by a deadline meant for others, and a bucket with a shorter lease never lives
on the longer one of others. The runtime may die between any two events.
"""

from __future__ import annotations

from collections import deque

from clusterip.core.lease_events import BucketState, Event, SetBucket, SetDeadline
from clusterip.core.message import buckets_of


class Kernel:
    """One group as the kernel knows it once all `events` are taken."""

    def __init__(self, owned: int = 0, taking: int = 0, draining: int = 0, until: int = 0) -> None:
        self.owned = owned
        self.taking = taking
        self.open = owned | taking
        """The mask of buckets in use."""
        self.draining = draining
        self.deadline = until
        self.events: deque[Event] = deque()

    def reset(self, total: int) -> None:
        """Clear all there may be: the first act of a start without hand-over."""
        self.put((1 << total) - 1, BucketState.NONE)
        self.limit(0)

    def put(self, buckets: int, state: BucketState) -> None:
        """Put `buckets` into `state`."""
        self.owned &= ~buckets
        self.taking &= ~buckets
        self.draining &= ~buckets
        if state is BucketState.OWNED:
            self.owned |= buckets
        elif state is BucketState.TAKING:
            self.taking |= buckets
        elif state is BucketState.DRAINING:
            self.draining |= buckets
        self.open = self.owned | self.taking
        self.events.extend(SetBucket(bucket, state) for bucket in buckets_of(buckets))

    def limit(self, deadline: int) -> None:
        """Set the deadline."""
        self.deadline = deadline
        self.events.append(SetDeadline(deadline))
