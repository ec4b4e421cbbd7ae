"""Buckets that nobody asks for, because those who make plans do not all hear the same.

Each leaves a bucket to another who should own it by its own plan, and has a plan of its own. Who
sees that for a while asks for the bucket itself. No rule of safety is concerned.
"""

from __future__ import annotations

from clusterip.core.messages.message import buckets_of, mask_of


class Orphans:
    """What nobody holds or asks for, and since when, ns."""

    def __init__(self) -> None:
        self._since: dict[int, int] = {}

    def look(self, unasked: int, *, wait: int, now: int) -> int:
        """Return the mask of the buckets in `unasked` that were in it for `wait` ns."""
        self._since = {bucket: self._since.get(bucket, now) for bucket in buckets_of(unasked)}
        return mask_of(bucket for bucket, since in self._since.items() if now >= since + wait)
