"""The coordinator of rules: buckets that are this host's for ever, as `clusterip iptables` does it.

Nobody is asked and nobody is told. Whoever wrote the rules gave each bucket to one host; what
else happens changes nothing of that: who is drained, unhealthy or has no link gives nothing away,
for there is nobody here to take it. Only the rules do, by `use`, and the end, by `leave`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from clusterip.core.buckets import buckets_of
from clusterip.core.serving.actions import Action, BucketState, Reception, RestartReady
from clusterip.core.serving.coordinator import NEVER, Own, Pace
from clusterip.core.serving.flows import Flows
from clusterip.core.serving.kernel import Kernel
from clusterip.core.serving.other import Other
from clusterip.core.serving.status import Snapshot, Standing

NO_DEADLINE: Final = (1 << 64) - 1
"""The deadline of a group that needs no daemon (bpf/abi.h, CI_NO_DEADLINE)."""


class Memory(msgspec.Struct, frozen=True):
    """What a successor takes up: the mask of the buckets that the kernel has."""

    buckets: int


class Static:
    """Node `me` with the buckets of a mask, of `total`; `memory` is what a predecessor left."""

    def __init__(self, me: int, total: int, buckets: int, *, memory: bytes = b"") -> None:
        self.me = me
        self.own = Own()
        self.flows = Flows(0, 0)
        self.restarting = self.gone = False
        self._total = total
        if memory:
            known = msgspec.json.decode(memory, type=Memory).buckets
            self.kernel = Kernel(owned=known, until=NO_DEADLINE)
        else:
            self.kernel = Kernel()
            self.kernel.reset(total)
        self.use(buckets)

    def use(self, buckets: int) -> None:
        """Have exactly the buckets of this mask from now on: the rules say so."""
        kernel = self.kernel
        if kernel.open & ~buckets:
            kernel.put(kernel.open & ~buckets, BucketState.NONE)
        if kernel.deadline != NO_DEADLINE:
            kernel.limit(NO_DEADLINE)
        if buckets & ~kernel.open:
            kernel.put(buckets & ~kernel.open, BucketState.OWNED)

    # ---- what is so now ----

    @property
    def asking(self) -> int:
        """None: what it asks for it has."""
        return 0

    @property
    def others(self) -> Mapping[int, Other]:
        """Nobody that it knows of."""
        return {}

    def known(self, node: int) -> Other | None:  # noqa: ARG002
        """Return None: nothing is known of anybody."""
        return None

    def lives(self, node: int) -> bool:  # noqa: ARG002
        """Return False: nobody is heard."""
        return False

    def in_contact(self, now: int) -> bool:  # noqa: ARG002
        """Return True: nothing is needed."""
        return True

    @property
    def lacks(self) -> str:
        """Nothing does."""
        return ""

    @property
    def pace(self) -> Pace:
        """How long things take: nothing does."""
        return Pace(lease=0, gap=0, giving=0)

    @property
    def ended(self) -> bool:
        """Whether it was told to leave: then nobody has to know."""
        return self.own.stopped

    def snapshot(self, *, now: int) -> Snapshot:  # noqa: ARG002
        """Return what is to be seen of it."""
        own, held = self.own, list(buckets_of(self.kernel.open))
        me = Standing(
            node=self.me,
            me=True,
            heard=None,
            alive=True,
            agrees=True,
            healthy=own.healthy,
            ready=True,
            leaving=own.leaving,
            weight=own.weight,
            held=held,
            fair_share=float(len(held)),
        )
        return Snapshot(
            incarnation=0,
            owned=held,
            taking=[],
            draining=[],
            asking=[],
            lease=0,
            leaving=own.leaving,
            restarting=self.restarting,
            alone=False,
            settling=False,
            version=0,
            held_down_by=[],
            nodes=[me],
        )

    # ---- what happens ----

    def receive(self, heard: object, *, now: int) -> Reception:  # noqa: ARG002
        """Take in nothing: nobody says anything to it."""
        return Reception.STRANGER

    def handle_timer(self, *, now: int) -> None:
        """Do nothing: no time changes anything."""

    def set_link(self, up: bool, *, now: int) -> None:  # noqa: ARG002
        """Note it, no more."""
        self.own.link = up

    def speak(self, *, now: int) -> None:
        """Say nothing."""

    def set_health(self, healthy: bool, *, now: int) -> None:  # noqa: ARG002
        """Note it, no more."""
        self.own.healthy = healthy

    def set_weight(self, weight: int, *, now: int) -> None:  # noqa: ARG002
        """Note it, no more."""
        self.own.weight = weight

    def drain(self, *, now: int) -> None:  # noqa: ARG002
        """Note it, no more."""
        self.own.leaving = True

    def undrain(self, *, now: int) -> None:  # noqa: ARG002
        """Note it, no more."""
        self.own.leaving = False

    def drained(self, buckets: Iterable[int], *, now: int) -> None:
        """Do nothing: nothing drains here."""

    def note_flows(self, flow_slots: Mapping[int, int], *, now: int) -> None:
        """Do nothing: none are asked for."""

    def decline(self, node: int) -> None:
        """Do nothing: nothing is to be noted."""

    def leave(self, *, now: int) -> None:  # noqa: ARG002
        """Answer nothing any more."""
        self.own.leaving = self.own.stopped = True
        self.kernel.reset(self._total)

    def prepare_restart(self, *, now: int) -> None:  # noqa: ARG002
        """Be ready at once: the kernel goes on alone for ever."""
        self.restarting = True
        self.kernel.actions.append(RestartReady(self.kernel.deadline))

    def cancel_restart(self, *, now: int) -> None:  # noqa: ARG002
        """Stay."""
        self.restarting = self.gone = False

    def hand_over(self) -> bytes:
        """Return the memory for the successor."""
        self.gone = True
        return msgspec.json.encode(Memory(self.kernel.open))

    # ---- what follows ----

    def next_action(self) -> Action | None:
        """Take the next thing to do, None when all is done."""
        return self.kernel.actions.popleft() if self.kernel.actions else None

    def message_to_send(self, *, now: int) -> None:
        """Return None: there is nothing to say, ever."""

    def next_timer(self) -> int:
        """Return NEVER."""
        return NEVER
