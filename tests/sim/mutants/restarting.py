"""Deliberate bugs in a planned restart: what was handed over is not taken up, bit by bit."""

from __future__ import annotations

import msgspec

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from tests.sim.coordinators import Make
from tests.sim.mutants.kind import Mutant

Forgotten = tuple[str, str]
"""A field of the hand-over, and one in each of its entries; "" for all of the field."""

FORGETS_GRANTS = Mutant.of(
    "forgets grants",
    "a planned restart does not take up the grants it gave",
    (
        "lease/succession.py",
        "    for one in old.promises:\n        voter.",
        "    for one in ():\n        voter.",
    ),
)


def without(old: HandOver, field: str, part: str, config: NodeConfig) -> HandOver:
    """Return the hand-over with 0, or nothing, in that part; for the voters those of the file."""
    value = getattr(old, field)
    if field == "voters":
        value = sorted(config.voters)
    elif part:
        value = [msgspec.structs.replace(entry, **{part: 0}) for entry in value]
    else:
        value = type(value)()
    return msgspec.structs.replace(old, **{field: value})


def forgets(field: str, part: str = "") -> Make:
    """Return what makes nodes that do not take up that part of what was handed over."""

    def make(
        config: NodeConfig, *, incarnation: int, mute: int, handover: bytes | None, now: int
    ) -> Node:
        kept = without(HandOver.decode(handover), field, part, config) if handover else None
        return Node(config, incarnation=incarnation, mute=mute, handover=kept, now=now)

    return make
