"""Sets of buckets: as masks, where bit N - 1 stands for bucket N, 1..256; as numbers; as text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from clusterip.core.words import amount

EVERY_FLOW_SLOT: Final = (1 << 64) - 1
"""All flow slots of a bucket (bpf/abi.h, struct ci_group)."""


def buckets_of(mask: int) -> Iterator[int]:
    """Yield the numbers, 1..256, of the buckets in `mask`."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length()
        mask ^= lowest


def mask_of(buckets: Iterable[int]) -> int:
    """Return the mask of these buckets, 1..256, none twice."""
    return sum(1 << bucket - 1 for bucket in buckets)


def spans(buckets: Iterable[int]) -> str:
    """Return ascending numbers as text: `1-4,7`; "none" for none."""
    parts: list[list[int]] = []
    for bucket in buckets:
        if parts and bucket == parts[-1][1] + 1:
            parts[-1][1] = bucket
        else:
            parts.append([bucket, bucket])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts) or "none"


def counted(buckets: Collection[int]) -> str:
    """Return ascending numbers of one bucket or more as text with their count."""
    return f"{amount(len(buckets), 'bucket')} ({spans(buckets)})"
