"""What went to and fro between this node and the others since the daemon began."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from clusterip.core.messages.rejected import Rejections


@dataclass(slots=True)
class Traffic:
    """All of it, counted."""

    sent: int = 0
    message_bytes: int = 0
    """The length of the newest message sent."""
    received: Counter[str] = field(default_factory=Counter)
    """How many datagrams came, by what became of them."""
    rejections: Rejections = field(default_factory=Rejections)
    sealed_with: dict[int, int] = field(default_factory=dict)
    """Node -> id of the key that its newest message was sealed with."""
    without_source: bool = False
    """Whether this host has no address that its messages may leave from."""
