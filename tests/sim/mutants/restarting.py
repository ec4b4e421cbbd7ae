"""Deliberate bugs in a planned restart: what was handed over is not taken up, bit by bit."""

from __future__ import annotations

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig

Forgotten = tuple[str, int]
"""A field of the hand-over, and the place in each of its entries; 0 for all of the field."""


class NodeForgetsGrants(Node):
    """A planned restart does not take up the grants it gave."""

    def _remember(self, old: HandOver) -> None:
        self.voter.mute_until = old.mute_until


def without(old: HandOver, field: str, place: int, config: NodeConfig) -> HandOver:
    """Return the hand-over with 0, or nothing, in that place; for the voters those of the file."""
    fields = old._asdict()
    value = fields[field]
    if field == "voters":
        fields[field] = sorted(config.voters)
    elif place:
        fields[field] = [(*entry[:place], 0, *entry[place + 1 :]) for entry in value]
    else:
        fields[field] = type(value)()
    return HandOver(**fields)


def forgets(field: str, place: int = 0) -> type[Node]:
    """Return nodes that do not take up that part of what was handed over."""

    class Forgetful(Node):
        def __init__(
            self,
            config: NodeConfig,
            *,
            boot: int = 0,
            mute: int = 0,
            handover: HandOver | None = None,
            now: int,
        ) -> None:
            kept = without(handover, field, place, config) if handover else None
            super().__init__(config, boot=boot, mute=mute, handover=kept, now=now)

    Forgetful.__name__ = f"Forgets_{field}_{place}" if place else f"Forgets_{field}"
    return Forgetful
