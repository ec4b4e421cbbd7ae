"""What decides which buckets this host may use, and until when; and how it is spoken with.

A coordinator touches nothing and knows no clock: what happens is told to it, with the time it is,
`now`, CLOCK_BOOTTIME in ns. After any input its runtime takes all actions and acts on each before
it takes the next, then sends what there is to be sent, and arms one timer:

    coordinator.receive(heard, now=now)
    while action := coordinator.next_action(): ...
    said = coordinator.message_to_send(now=now)
    timer = coordinator.next_timer()

`static` and the peers of `core.lease` are coordinators. What is heard and said is their own: peers
hear and say messages, one that asks a server hears its answers and says requests, and one that
goes by rules does neither. What comes in such a form only is told to it beside this protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from clusterip.core.serving.actions import Action, Reception
from clusterip.core.serving.flows import Flows
from clusterip.core.serving.kernel import Kernel
from clusterip.core.serving.other import Other
from clusterip.core.serving.status import Snapshot

NEVER: Final = (1 << 63) - 1
"""A time that does not come, ns."""
Heard_contra = TypeVar("Heard_contra", contravariant=True)
Said_co = TypeVar("Said_co", covariant=True)


@dataclass(slots=True)
class Own:
    """What this host says of itself. `weight` is 0..65535; `stopped` is for good.

    `ends` is whether it was told to stop, and drains at most: nothing else is taken from anybody.
    """

    weight: int = 1
    healthy: bool = True
    link: bool = True
    leaving: bool = False
    stopped: bool = False
    ends: bool = False


class Pace(NamedTuple):
    """How long things take, ns.

    `lease` is for how long the kernel goes on alone at most, 0 for ever; `gap` the least time
    between two messages; `giving` how long it may take until all buckets are given away.
    """

    lease: int
    gap: int
    giving: int


class Coordinator(Protocol[Heard_contra, Said_co]):
    """What decides for this host."""

    # ---- what is so now ----

    @property
    def me(self) -> int:
        """The id of this node."""

    @property
    def kernel(self) -> Kernel:
        """Which buckets may be used, and until when: what the kernel knows, all actions taken."""

    @property
    def flows(self) -> Flows:
        """The flows that stay here of buckets that go; `watch` and `keep` may be set."""

    @property
    def own(self) -> Own:
        """What was said of this host."""

    @property
    def asking(self) -> int:
        """Mask of the buckets that it asks for and does not have."""

    @property
    def others(self) -> Mapping[int, Other]:
        """Who else takes part now, by id, and what they have."""

    def known(self, node: int) -> Other | None:
        """Return what was known of a node last, whether it takes part or not; None: nothing."""

    def lives(self, node: int) -> bool:
        """Return whether another node is heard of."""

    def in_contact(self, now: int) -> bool:
        """Return whether what is needed to have buckets is there: a majority, or a server."""

    @property
    def lacks(self) -> str:
        """What is missing where that is not there, in words."""

    @property
    def pace(self) -> Pace:
        """How long things take."""

    @property
    def restarting(self) -> bool:
        """Whether a planned restart is under way: nothing else may begin."""

    @property
    def gone(self) -> bool:
        """Whether nothing is said any more: its memory was handed over, or is not to be trusted."""

    @property
    def ended(self) -> bool:
        """Whether, after `leave`, nobody need be told anything more."""

    def snapshot(self, *, now: int) -> Snapshot:
        """Return what is to be seen of it."""

    # ---- what happens ----

    def receive(self, heard: Heard_contra, *, now: int) -> Reception:
        """Take in a message or an answer; say what became of it."""

    def handle_timer(self, *, now: int) -> None:
        """Do what is due."""

    def set_link(self, up: bool, *, now: int) -> None:
        """Note whether the interface is there, and ours."""

    def speak(self, *, now: int) -> None:
        """Say all again at once: the link was gone, so nobody may have heard it."""

    def set_health(self, healthy: bool, *, now: int) -> None:
        """Note what the health checks say."""

    def set_weight(self, weight: int, *, now: int) -> None:
        """Note the weight of this node, 0..65535."""

    def drain(self, *, now: int) -> None:
        """Give all buckets away, as others take them."""

    def undrain(self, *, now: int) -> None:
        """Take part again."""

    def drained(self, buckets: Iterable[int], *, now: int) -> None:
        """Note that no connection of these draining buckets is left, or that none may stay."""

    def note_flows(self, flow_slots: Mapping[int, int], *, now: int) -> None:
        """Take in the flow slots of buckets, by bucket, that ReadFlowSlots asked for."""

    def decline(self, node: int) -> None:
        """Go without the Note that was about this node: it could not be recorded."""

    def leave(self, *, now: int) -> None:
        """Release all at once, for good: `ended` says when that is done."""

    def prepare_restart(self, *, now: int) -> None:
        """Get ready to be silent for a while: RestartReady or RestartRefused is the answer."""

    def cancel_restart(self, *, now: int) -> None:
        """Stay, also where nobody took up what was handed over."""

    def hand_over(self) -> bytes:
        """Return the memory for the successor: all actions must be taken, and nothing follows."""

    # ---- what follows ----

    def next_action(self) -> Action | None:
        """Take the next thing to do, None when all is done."""

    def message_to_send(self, *, now: int) -> Said_co | None:
        """Return what is to be said now, None if there is nothing, or actions are not taken."""

    def next_timer(self) -> int:
        """Return when to call `handle_timer`, ns; NEVER if it need not be."""
