"""What a coordinator tells its runtime to do, in order.

An action is done when it is taken: the runtime acts on each before it takes the next, and takes
all before it asks for a message. What a message says about the kernel is true only then.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple


class BucketState(IntEnum):
    """State of a bucket in the kernel; the values are those of enum ci_state in bpf/abi.h."""

    NONE = 0
    OWNED = 1
    TAKING = 2
    DRAINING = 3
    WATCHING = 4


class SetBucket(NamedTuple):
    """Put `bucket`, 1..total, into `state`."""

    bucket: int
    state: BucketState


class SetFlowSlots(NamedTuple):
    """Set the mask of the flow slots of `bucket`, 1..total, 64 bits."""

    bucket: int
    flow_slots: int


class ReadFlowSlots(NamedTuple):
    """Read the flow slots of these buckets, 1..total, and tell that by `note_flows`."""

    buckets: tuple[int, ...]


class SetDeadline(NamedTuple):
    """Set the group's deadline to `at`, CLOCK_BOOTTIME ns; 0 closes the group.

    `sooner` is for one that was later: what the kernel closed meanwhile by itself stays closed.
    """

    at: int
    sooner: bool = False


class SetLead(NamedTuple):
    """Tell the kernel by how much, ns, the clock of that incarnation of `node` is ahead of ours.

    From a message of it the kernel then sees by itself that a lease is over, or that our clock
    stood still for `slack`, ns: bpf/beat.h.
    """

    node: int
    incarnation: int
    ahead: int
    slack: int


class SetBack(NamedTuple):
    """This memory is of an earlier moment: what it said and promised since then is lost.

    `sequence` is that of a message which it sent, as `node` says, and does not know of: `known` is
    that of the newest it knows. The daemon is to start anew, with another memory.
    """

    node: int
    sequence: int
    known: int


class Note(NamedTuple):
    """Record beside the pins that a promise stands until `until`, CLOCK_BOOTTIME ns.

    A start without hand-over stays mute until the latest of them. Where it cannot be recorded, and
    is for the restart of node `about`, tell that by `decline`.
    """

    until: int
    about: int = 0


class RestartReady(NamedTuple):
    """The kernel may go on alone until `until`, ns: take all actions, the hand-over, and go."""

    until: int


class RestartRefused(NamedTuple):
    """A planned restart of that grace, ns, was called off after D: not all who must know of it do.

    That is a majority; while something drains here, all who may have it.
    """

    grace: int


class AlarmKind(Enum):
    """What an administrator should know."""

    TWO_OWNERS = "two owners"
    BOTH_SERVED = "both served"
    MISMATCH = "configuration mismatch"
    STARVED = "starved"
    STOOD_STILL = "stood still"
    DEAF = "deaf"


class Alarm(NamedTuple):
    """Something is wrong.

    `node` is the other node (0: this one). `value` is the mask of buckets for TWO_OWNERS, for how
    long at most two hosts both served for BOTH_SERVED, ns, the lateness in ns for STARVED, the
    other's digest for MISMATCH, and for STOOD_STILL how long our clock did, ns; for DEAF, which
    says that the other is heard and does not hear us, how many nodes it hears.
    """

    kind: AlarmKind
    node: int
    value: int


Action = (
    SetBucket
    | SetFlowSlots
    | ReadFlowSlots
    | SetDeadline
    | SetLead
    | SetBack
    | Note
    | RestartReady
    | RestartRefused
    | Alarm
)


class Reception(Enum):
    """What became of a message that was received; each is to be counted."""

    ACCEPTED = "accepted"
    OWN = "own"  # our own, come back
    STRANGER = "stranger"  # not of our voter set: nothing it says concerns us
    REPLAYED = "replayed"  # not newer than what that incarnation already said
    UNPROVEN = (
        "unproven"  # an incarnation that has not yet echoed what we sent since we first saw it
    )
    AHEAD = "ahead of us"  # it has heard what we do not know to have said: see SetBack
    MISMATCH = "mismatch"  # fresh, but of another configuration or too distant a voter set
