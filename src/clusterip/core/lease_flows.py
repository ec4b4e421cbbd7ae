"""Moves of what has no socket to ask for, UDP above all: who answers which flow meanwhile.

The kernel tells flows apart by cells, 64 in a bucket (bpf/abi.h, struct ci_group). Before a
bucket is given away its owner has the kernel watch it, for a few seconds: what comes is noted by
its cell. From then on each message names these cells, and only when the next owner has heard one
of them is the bucket given away. The owner before goes on to answer these cells for a while, and
the owner after leaves them alone.

Why no packet is answered twice:

1. What the owner before answers, of a bucket it gave away, is in every message it sent since the
   next owner acknowledged one; it stops answering first and says so then.
2. An owner after that has one of these messages leaves alone what it says. One that has only an
   older message, in which the bucket is still held, leaves every cell alone, and so does one
   whom others outran: they heard what it did not.
3. It does so until the owner before no longer lists the bucket, or nobody whom it hears has heard
   anything new of that owner for D: then a majority has not, and that kernel's deadline is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from clusterip.core.message import Message, buckets_of

EVERY_CELL: Final = (1 << 64) - 1
_NEVER: Final = 1 << 64


class Flows:
    """The cells of buckets that leave this node. `watch` and `keep` are ns; watch 0: none are."""

    def __init__(self, watch: int, keep: int) -> None:
        self.watch = watch
        self.keep = keep
        self.kept: dict[int, int] = {}
        """Bucket -> cells answered here although it was given away."""
        self._watched: dict[int, int] = {}
        """Bucket -> until when it is watched."""
        self._agreed: dict[int, tuple[int, int]] = {}
        """Bucket held still -> cells, and the first message that says them."""
        self._ends: dict[int, int] = {}
        """Bucket -> until when its cells are kept."""

    def begin(self, buckets: int, *, now: int) -> int:
        """Return which of `buckets` are to be watched from now on."""
        new = 0
        for bucket in buckets_of(buckets):
            if bucket not in self._watched and bucket not in self._agreed:
                self._watched[bucket] = now + self.watch
                new |= 1 << bucket - 1
        return new

    def keep_only(self, going: int) -> None:
        """Forget what is not to be given away any more."""
        self._watched = {b: end for b, end in self._watched.items() if going >> b - 1 & 1}
        self._agreed = {b: said for b, said in self._agreed.items() if going >> b - 1 & 1}

    def seen_enough(self, *, now: int) -> list[int]:
        """Return the buckets that were watched for long enough: their cells are to be read."""
        over = [bucket for bucket, end in self._watched.items() if now >= end]
        for bucket in over:
            del self._watched[bucket]
            self._agreed[bucket] = (0, _NEVER)
        return over

    def note(self, cells: Mapping[int, int], sequence: int) -> None:
        """Take in the cells of buckets that were watched; message `sequence` will say them."""
        for bucket, mask in cells.items():
            if bucket in self._agreed:
                self._agreed[bucket] = (mask, sequence if mask else 0)

    def settled(self, buckets: int, heard: int) -> int:
        """Return which of `buckets` may go to a node that has heard our message `heard`."""
        return sum(
            1 << bucket - 1
            for bucket in buckets_of(buckets)
            if self._agreed.get(bucket, (0, _NEVER))[1] <= heard
        )

    def give(self, buckets: int, *, now: int) -> dict[int, int]:
        """Return the cells that stay here of buckets which are given away now."""
        cells = {}
        for bucket in buckets_of(buckets):
            cells[bucket], _ = self._agreed.pop(bucket, (0, 0))
            if cells[bucket]:
                self.kept[bucket] = cells[bucket]
                self._ends[bucket] = now + self.keep
        return cells

    def over(self, draining: int, *, now: int) -> list[int]:
        """Forget the cells of buckets that drain no more; return those kept for long enough."""
        ended = []
        for bucket, end in list(self._ends.items()):
            drains = draining >> bucket - 1 & 1
            if drains and now < end:
                continue
            if drains:
                ended.append(bucket)
            del self._ends[bucket], self.kept[bucket]
        return ended

    def said(self, listed: int) -> tuple[tuple[int, int], ...]:
        """Return what a message says of the buckets `listed` in it.

        Pairs (bucket, cells), ascending, none without cells.
        """
        if not (self._agreed or self.kept):
            return ()
        agreed = {bucket: cells for bucket, (cells, _) in self._agreed.items() if cells}
        said = sorted((agreed | self.kept).items())
        return tuple((bucket, cells) for bucket, cells in said if listed >> bucket - 1 & 1)

    def restore(self, kept: Iterable[tuple[int, int]], *, now: int) -> None:
        """Take up the cells that a predecessor kept."""
        self.kept = dict(kept)
        self._ends = dict.fromkeys(self.kept, now + self.keep)


class Left:
    """What a node leaves to those who had its buckets before."""

    def __init__(self) -> None:
        self._blind = 0
        """Mask of the buckets opened while others had heard more than this node, and still do."""

    def look(
        self, taking: int, opening: int, messages: Iterable[Message], *, outrun: bool
    ) -> dict[int, int]:
        """Return the cells to leave alone, by bucket: of those to be, or remain, in TAKING.

        `messages` are the newest of those who live; `outrun` whether others have newer ones.
        """
        self._blind = self._blind & taking | opening if outrun else 0
        found = {}
        for bucket in buckets_of(taking | opening):
            cells = _left_to(bucket, messages)
            if self._blind >> bucket - 1 & 1:
                cells = EVERY_CELL
            if cells is not None:
                found[bucket] = cells
        return found


def _left_to(bucket: int, messages: Iterable[Message]) -> int | None:
    """Return the cells of a bucket taken here that the senders may answer; None: it is all ours."""
    cells = None
    bit = 1 << bucket - 1
    for message in messages:
        if (message.held | message.draining) & bit:
            # Who holds it, by the last we heard, gave it away since: with which cells?
            unknown = EVERY_CELL if message.held & bit else 0
            cells = (cells or 0) | (message.cells_of(bucket) or unknown)
    return cells
