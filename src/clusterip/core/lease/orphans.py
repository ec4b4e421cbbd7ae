"""Buckets that nobody asks for, because those who make plans do not all hear the same.

Each leaves a bucket to another who should own it by its own plan, and has a plan of its own. Who
sees that for a while asks for the bucket itself. No rule of safety is concerned.
"""

from __future__ import annotations

from clusterip.core.buckets import buckets_of, mask_of


class Orphans:
    """What nobody holds or asks for, and since when.

    Each node has another `wait`, ns, so that the others have heard who asks first.
    """

    def __init__(self, wait: int) -> None:
        self.wait = wait
        self._since: dict[int, int] = {}

    def look(self, unasked: int, *, now: int) -> int:
        """Return the mask of the buckets in `unasked` that were in it for long enough."""
        if not (unasked or self._since):
            return 0
        self._since = {bucket: self._since.get(bucket, now) for bucket in buckets_of(unasked)}
        return mask_of(bucket for bucket, since in self._since.items() if now >= since + self.wait)

    @property
    def idle(self) -> bool:
        """Whether everything was asked for when it was looked last."""
        return not self._since

    def next_due(self, *, now: int) -> int | None:
        """Return when, ns, a bucket will have been unasked for long enough; None: none is."""
        due = (since + self.wait for since in self._since.values() if since + self.wait > now)
        return min(due, default=None)
