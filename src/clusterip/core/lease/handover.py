"""What a node hands to its successor in a planned restart: its memory, as bytes.

It holds good on the same host and boot of the kernel only (its times are CLOCK_BOOTTIME), and
once: whoever takes it up removes it first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from clusterip.core.errors import SystemFaultError

_VERSION = 2


class HandOver(NamedTuple):
    """The memory of a node: times in ns, sets of buckets as masks."""

    node: int
    boot: int
    sequence: int
    config: int
    voters: list[int]
    before: list[int]
    owned: int
    taking: int
    draining: int
    deadline: int
    said: int
    since: list[tuple[int, int]]
    proofs: list[tuple[int, int, int]]
    promises: list[tuple[int, int, int, int]]
    """Node, boot, buckets, until."""
    peers: list[tuple[int, int, int, int]]
    """Node, boot, newest sequence, until when its silence means nothing."""
    mute_until: int
    leaving: bool
    incumbent: bool
    flows: Sequence[tuple[int, int]] = ()
    """Bucket that drains, cells that are answered."""
    contact: Sequence[tuple[int, int]] = ()
    """Voter, until when it counts that it heard the node."""
    leads: Sequence[tuple[int, int, int, int, int]] = ()
    """Node, and the first four of its `standstill.Lead`."""
    farewells: Sequence[tuple[int, int]] = ()
    """Node, when it said that it answers nothing any more."""
    lent_until: int = 0
    """Until when the term that the node announced binds it."""
    bound: Sequence[tuple[int, int]] = ()
    """Voter, until when it counts to what drains, for the term that it announced."""
    lone: bool = False
    """Whether it served without the other of two."""

    def encode(self) -> bytes:
        """Return it as bytes."""
        return json.dumps({"version": _VERSION, **self._asdict()}).encode()

    @classmethod
    def decode(cls, raw: bytes) -> HandOver:
        """Read what `encode` wrote; raises SystemFaultError for anything else."""
        try:
            fields = json.loads(raw)
            if fields.pop("version") == _VERSION:
                return cls(**fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SystemFaultError("the hand-over is damaged", "start without it") from error
        raise SystemFaultError("the hand-over is of another version", "start without it")
