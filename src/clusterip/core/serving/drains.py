"""When the drain of a bucket is over: its connections ended, or had their time."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple


class Over(NamedTuple):
    """The drain of `bucket` is over; `cut` connections are still open, 0 if all ended."""

    bucket: int
    cut: int


class Drains:
    """The buckets that drain, and how many connections each had when last counted.

    A count is taken while connections come and go, so one may be overlooked: that all ended has
    to be seen twice. A count that began before the drain says nothing.
    """

    def __init__(self, since: Mapping[int, int] | None = None) -> None:
        self.since: dict[int, int] = dict(since or {})
        """Bucket -> since when it drains, ns."""
        self.counts: dict[int, int] = {}
        self.cut = 0
        """How many connections were given up in all."""
        self._empty: set[int] = set()

    def begin(self, bucket: int, *, now: int) -> None:
        """Note that `bucket` drains from now on."""
        self.since[bucket] = now
        self._empty.discard(bucket)

    def end(self, bucket: int) -> None:
        """Note that `bucket` does not drain, whatever the reason."""
        self.since.pop(bucket, None)
        self.counts.pop(bucket, None)
        self._empty.discard(bucket)

    def counted(
        self,
        counts: Mapping[int, int] | None,
        kept: Container[int] = (),
        *,
        began: int,
        timeout: int,
        now: int,
    ) -> list[Over]:
        """Take in a count that began at `began`; return the drains that are over.

        Connections may take `timeout` from the beginning of the drain. All times in ns. The
        drains of buckets `kept` go on whatever they count: other flows of theirs are served.
        With None, which is that nobody knows, drains are over by time alone.
        """
        found = []
        for bucket, since in self.since.items():
            if since >= began:
                continue
            if counts is not None:
                self.counts[bucket] = counts.get(bucket, 0)
            if bucket in kept:
                continue
            left = self.counts.get(bucket, 0)
            in_use = bool(left) or counts is None
            if in_use and now - since >= timeout:
                self.cut += left
                found.append(Over(bucket, left))
            elif in_use:
                self._empty.discard(bucket)
            elif bucket in self._empty:
                found.append(Over(bucket, 0))
            else:
                self._empty.add(bucket)
        return found
