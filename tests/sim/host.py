"""A host of the simulation: its clock, its kernel, its files; and the daemon that comes and goes.

All times of the world are ns of true time; a host sees its own clock only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import (
    BucketState,
    SetBucket,
    SetDeadline,
    SetFlowSlots,
    SetLead,
)
from clusterip.core.serving.coordinator import Coordinator

if TYPE_CHECKING:
    from clusterip.core.lease.node import Node

Decider = Coordinator[Message, Message]
MILLION = 1_000_000
OPEN = {BucketState.OWNED, BucketState.TAKING, BucketState.WATCHING}


class Host:
    """Kernel state outlives the daemon (`node`), the note outlives it, a reboot takes both."""

    def __init__(self, name: int, ppm: int, offset: int, voters: frozenset[int]) -> None:
        self.id = name
        self.rate = MILLION + ppm
        self.offset = offset
        self.node: Decider | None = None
        # The kernel.
        self.open = 0
        self.taking = 0
        self.draining = 0
        self.flow_slots: dict[int, int] = {}
        self.deadline = 0
        self.leads: dict[int, tuple[int, int, int]] = {}
        """Node -> incarnation, lead and slack, as the kernel knows them."""
        self.opened: dict[int, int] = {}
        """Bucket -> since when it is open, in true time."""
        # A machine that stands still.
        self.frozen_at: int | None = None
        self.shown = -1
        """The newest true time that a message shows it since it goes on; -1: it never stood."""
        self.missed = 0
        """For how long it stood still, ns, as messages show that were sent before it went on."""
        self.missed_until = 0
        """When it went on after that, in true time."""
        self.stood = (0, 0)
        """From when to when it stood still last, in true time."""
        self.again: dict[int, tuple[int, int]] = {}
        """Node that stood still -> when it went on, and since when it is heard again, true time."""
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
        self.inbox: list[tuple[Message, int]] = []
        self.wake = 0
        self.alarms = 0

    @property
    def peer(self) -> Node | None:
        """Its node, if that is one of the peers' protocol: a mutant is none of that very class."""
        return cast("Node", self.node) if hasattr(self.node, "state") else None

    def local(self, now: int) -> int:
        """Return what the host's clock shows at true time `now`."""
        if self.frozen_at is not None:
            now = self.frozen_at
        return self.offset + now * self.rate // MILLION

    def when(self, local: int) -> int:
        """Return the first true time at which the host's clock shows `local`."""
        return -(-(local - self.offset) * MILLION // self.rate)

    def serves(self, now: int) -> int:
        """Return the mask of buckets that the kernel answers for."""
        if self.frozen_at is not None:
            return 0
        return self.open if self.open and self.local(now) < self.deadline else 0

    def drains(self, now: int) -> int:
        """Return the mask of buckets of which the kernel answers what it held before."""
        if self.frozen_at is not None:
            return 0
        return self.draining if self.draining and self.local(now) < self.deadline else 0

    def thaw(self, now: int) -> None:
        """Go on, with a clock that did not notice."""
        if self.frozen_at is not None:
            shown = self.local(now)
            self.stood = self.frozen_at, now
            self.frozen_at = None
            self.offset += shown - self.local(now)
            self.shown = 0

    def beat(self, message: Message, now: int) -> None:
        """See a message go by, as bpf/beat.h does."""
        incarnation, ahead, slack = self.leads.get(message.sender, (0, 0, 0))
        if incarnation == message.incarnation:
            stood = message.clock - ahead - self.local(now)
            if message.clock - ahead >= self.deadline or stood >= slack:
                self.deadline = 0
            self.leads[message.sender] = incarnation, ahead + max(0, stood), slack

    def show(self, message: Message, sent: int, sender: Host, lately: int, now: int) -> None:
        """Note what a message, sent at true time `sent`, tells a machine that stood still.

        It tells nothing if its sender was not heard before, or stood still itself and was not yet
        heard for `lately`, ns, since: what its clock showed before is not forgotten then.
        """
        went_on, since = self.again.get(message.sender, (sender.stood[1], 0))
        if sender.stood[1] > went_on:
            went_on, since = sender.stood[1], now
        self.again[message.sender] = went_on, since
        if self.shown < 0:
            return
        peer = self.peer.state.hearing.peers.all.get(message.sender) if self.peer else None
        if (
            peer is not None
            and peer.incarnation == message.incarnation
            and since + lately <= self.stood[0]
        ):
            self.shown = max(self.shown, sent)
            missed = (sent - self.stood[0]) - (now - self.stood[1])
            if missed > self.missed and self.shown < self.stood[1]:
                self.missed, self.missed_until = missed, self.stood[1]
        if sent >= self.missed_until:
            self.missed = 0

    def apply(self, event: SetBucket | SetFlowSlots | SetDeadline | SetLead, now: int) -> None:
        """Do to the kernel what the node says."""
        if isinstance(event, SetLead):
            self.leads[event.node] = event.incarnation, event.ahead, event.slack
            return
        if isinstance(event, SetFlowSlots):
            self.flow_slots[event.bucket] = event.flow_slots
            return
        if isinstance(event, SetDeadline):
            self.deadline = min(self.deadline, event.at) if event.sooner else event.at
            return
        bit = 1 << event.bucket - 1
        if event.state not in OPEN:
            self.opened.pop(event.bucket, None)
        self.witnessed.pop(event.bucket, None)
        self.open &= ~bit
        self.taking &= ~bit
        self.draining &= ~bit
        if event.state in OPEN:
            self.opened.setdefault(event.bucket, now)
            self.open |= bit
            self.taking |= bit if event.state is BucketState.TAKING else 0
        elif event.state is BucketState.DRAINING:
            self.draining |= bit
