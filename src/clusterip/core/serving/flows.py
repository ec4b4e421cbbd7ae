"""Moves of what has no socket to ask for, UDP above all: who answers which flow meanwhile.

The kernel tells flows apart by flow slots, 64 in a bucket (bpf/abi.h, struct ci_group). Before a
bucket is given away its owner has the kernel watch it, for a few seconds: what comes is noted by
its flow slot. The owner before goes on to answer these flow slots for a while, and says so in each
message that says that the bucket drains; the owner after leaves them alone.

Why no packet is answered twice:

1. What the owner before answers, of a bucket it gave away, is in every message since it did; it
   stops answering first and says so then.
2. An owner after that has one of these messages leaves alone what it says. One that has only an
   older message, in which the bucket is still held, or asked for, leaves every flow slot alone, and
   so does one whom others outran: they heard what it did not.
   What these heard they tell (`indirect`), which is as good once they spoke long enough after.
3. It does so until the owner before no longer lists the bucket, or nobody whom it hears has heard
   anything new of that owner for D: then a majority has not, and that kernel's deadline is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of, mask_of
from clusterip.core.serving.other import Other


class Flows:
    """The flow slots of buckets that leave this node; `watch` and `keep` are ns, watch 0: none."""

    def __init__(self, watch: int, keep: int) -> None:
        self.watch = watch
        self.keep = keep
        self.kept: dict[int, int] = {}
        """Bucket -> flow slots answered here although it was given away."""
        self._watched: dict[int, int] = {}
        """Bucket -> until when it is watched."""
        self._noted: dict[int, int | None] = {}
        """Bucket that may be given away -> flow slots; None until they are read."""
        self._ends: dict[int, int] = {}
        """Bucket -> until when its flow slots are kept."""

    @property
    def idle(self) -> bool:
        """Whether none are watched, noted or kept."""
        return not (self._watched or self._noted or self.kept)

    def begin(self, buckets: int, *, now: int) -> int:
        """Return which of `buckets` are to be watched from now on."""
        new = 0
        for bucket in buckets_of(buckets):
            if bucket not in self._watched and bucket not in self._noted:
                self._watched[bucket] = now + self.watch
                new |= 1 << bucket - 1
        return new

    def keep_only(self, going: int) -> None:
        """Forget what is not to be given away any more."""
        if not (self._watched or self._noted):
            return
        self._watched = {one: end for one, end in self._watched.items() if going >> one - 1 & 1}
        self._noted = {
            one: flow_slots for one, flow_slots in self._noted.items() if going >> one - 1 & 1
        }

    def seen_enough(self, *, now: int) -> tuple[int, ...]:
        """Return the buckets that were watched for long enough: their flow slots are to be read."""
        over = tuple(bucket for bucket, end in self._watched.items() if now >= end)
        for bucket in over:
            del self._watched[bucket]
            self._noted[bucket] = None
        return over

    def note(self, flow_slots: Mapping[int, int]) -> None:
        """Take in the flow slots of buckets that were watched."""
        self._noted |= {
            bucket: mask for bucket, mask in flow_slots.items() if bucket in self._noted
        }

    def settled(self, buckets: int) -> int:
        """Return which of `buckets` may be given away."""
        return mask_of(one for one in buckets_of(buckets) if self._noted.get(one) is not None)

    def give(self, buckets: int, room: int, *, now: int) -> dict[int, int]:
        """Return the flow slots that stay here of buckets which are given away now.

        Some flow slots can be told of `room` buckets, those that drain included. Of the rest all
        stay.
        """
        flow_slots = {}
        room -= sum(kept != EVERY_FLOW_SLOT for kept in self.kept.values())
        for bucket in buckets_of(buckets):
            flow_slots[bucket] = self._noted.pop(bucket, None) or 0
            if flow_slots[bucket] and room <= 0:
                flow_slots[bucket] = EVERY_FLOW_SLOT
            room -= flow_slots[bucket] not in {0, EVERY_FLOW_SLOT}
            if flow_slots[bucket]:
                self.kept[bucket] = flow_slots[bucket]
                self._ends[bucket] = now + self.keep
        return flow_slots

    def over(self, draining: int, *, now: int) -> list[int]:
        """Forget the slots of buckets that drain no more; return those kept for long enough."""
        ended = []
        for bucket, end in list(self._ends.items()):
            drains = draining >> bucket - 1 & 1
            if drains and now < end:
                continue
            if drains:
                ended.append(bucket)
            del self._ends[bucket], self.kept[bucket]
        return ended

    def said(self) -> tuple[tuple[int, int], ...]:
        """Return what a message says: (bucket, flow slots), ascending, none without flow slots."""
        return tuple(sorted(self.kept.items()))

    def restore(self, kept: Mapping[int, int], *, now: int) -> None:
        """Take up the flow slots that a predecessor kept."""
        self.kept = dict(kept)
        self._ends = dict.fromkeys(self.kept, now + self.keep)


class Told(NamedTuple):
    """What others tell of those of whom they heard more than this node did."""

    until: int
    """Up to when, ns, enough of them do."""
    draining: int
    """Mask of what those may drain."""
    others: list[Other]
    """All the rest."""


class InheritedFlows:
    """What a node leaves to those who had its buckets before. `promise_length` is D, ns."""

    def __init__(self, promise_length: int) -> None:
        self.promise_length = promise_length
        self._blind: dict[int, int] = {}
        """Bucket opened while others had heard more than this node, and still do -> when."""
        self._asked: dict[int, set[tuple[int, int, int]]] = {}
        """Bucket -> the words of those who asked for it when it opened."""

    def restore(self, taking: int, *, now: int) -> None:
        """Take up what a predecessor was taking: what it had heard is not known."""
        self._blind = dict.fromkeys(buckets_of(taking), now)

    def look(
        self, taking: int, opening: int, others: list[Other], told: Told | None, *, now: int
    ) -> dict[int, int]:
        """Return the flow slots to leave alone, by bucket: of those to be, or remain, in TAKING.

        `others` are those who may answer packets; `told` is None unless some of them were heard
        better elsewhere.
        """
        self._blind |= dict.fromkeys(buckets_of(opening), now)
        self._blind = {
            bucket: since
            for bucket, since in self._blind.items()
            if told and (taking | opening) >> bucket - 1 & 1
        }
        for bucket in buckets_of(opening):
            self._asked[bucket] = {one.word for one in others if one.want >> bucket - 1 & 1}
        self._asked = {
            bucket: asked
            for bucket, asked in self._asked.items()
            if (taking | opening) >> bucket - 1 & 1
        }
        found = {}
        for bucket in buckets_of(taking | opening):
            blind = self._blind.get(bucket)
            known = self._known(bucket, others)
            flow_slots = EVERY_FLOW_SLOT if blind is not None else self.left_to(bucket, known)
            if told and (blind is None or blind + self.promise_length <= told.until):
                by_them = told.draining >> bucket - 1 & 1
                known = self._known(bucket, told.others)
                if not by_them and self.left_to(bucket, known) is None:
                    flow_slots = None
            if flow_slots is not None:
                found[bucket] = flow_slots
        return found

    def _known(self, bucket: int, others: list[Other]) -> list[Other]:
        """Return the others, as holding the bucket if they asked for it when it opened.

        They may have had it since, and given it away.
        """
        asked = self._asked.get(bucket)
        if not asked:
            return others
        bit = 1 << bucket - 1
        return [one._replace(held=one.held | bit) if one.word in asked else one for one in others]

    @staticmethod
    def left_to(bucket: int, others: Iterable[Other]) -> int | None:
        """Return the flow slots of a bucket taken here that the others may answer, or None."""
        flow_slots = None
        bit = 1 << bucket - 1
        for one in others:
            if one.held & bit:
                # It gave it away since, or it would not be ours: with which flow slots?
                flow_slots = EVERY_FLOW_SLOT
            elif one.draining & bit:
                flow_slots = (flow_slots or 0) | one.flow_slots_of(bucket)
        return flow_slots
