"""A host of the simulation: its clock, its kernel, its files; and the daemon that comes and goes.

All times of the world are ns of true time; a host sees its own clock only.
"""

from __future__ import annotations

from clusterip.core.lease.events import BucketState, SetBucket, SetCells, SetDeadline
from clusterip.core.lease.node import Node
from clusterip.core.messages.message import Message

MILLION = 1_000_000
OPEN = {BucketState.OWNED, BucketState.TAKING, BucketState.WATCHING}


class Host:
    """Kernel state outlives the daemon (`node`), the note outlives it, a reboot takes both."""

    def __init__(self, name: int, ppm: int, offset: int, voters: frozenset[int]) -> None:
        self.id = name
        self.rate = MILLION + ppm
        self.offset = offset
        self.node: Node | None = None
        # The kernel.
        self.open = 0
        self.taking = 0
        self.draining = 0
        self.cells: dict[int, int] = {}
        self.deadline = 0
        # Files.
        self.voters = voters
        self.config = 1
        self.weight = 1
        self.note = 0
        self.rebooted = False
        self.handover: bytes | None = None
        # The daemon and its surroundings.
        self.healthy = True
        self.leaving = False
        self.link = True
        self.paused = False
        self.restarting = False
        self.may_go = False
        self.witnessed: dict[int, int] = {}
        """Bucket that drained when a planned restart began -> who had taken it by then."""
        self.witness = False
        self.removed = False
        self.inbox: list[Message] = []
        self.wake = 0
        self.alarms = 0

    def local(self, now: int) -> int:
        """Return what the host's clock shows at true time `now`."""
        return self.offset + now * self.rate // MILLION

    def when(self, local: int) -> int:
        """Return the first true time at which the host's clock shows `local`."""
        return -(-(local - self.offset) * MILLION // self.rate)

    def serves(self, now: int) -> int:
        """Return the mask of buckets that the kernel answers for."""
        return self.open if self.open and self.local(now) < self.deadline else 0

    def drains(self, now: int) -> int:
        """Return the mask of buckets of which the kernel answers what it held before."""
        return self.draining if self.draining and self.local(now) < self.deadline else 0

    def apply(self, event: SetBucket | SetCells | SetDeadline) -> None:
        """Do to the kernel what the node says."""
        if isinstance(event, SetCells):
            self.cells[event.bucket] = event.cells
            return
        if isinstance(event, SetDeadline):
            self.deadline = event.at
            return
        bit = 1 << event.bucket - 1
        self.witnessed.pop(event.bucket, None)
        self.open &= ~bit
        self.taking &= ~bit
        self.draining &= ~bit
        if event.state in OPEN:
            self.open |= bit
            self.taking |= bit if event.state is BucketState.TAKING else 0
        elif event.state is BucketState.DRAINING:
            self.draining |= bit
