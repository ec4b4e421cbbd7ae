"""Since when a node has each of its buckets as it has it now, and from whom it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from clusterip.core.buckets import buckets_of
from clusterip.core.leftovers import Had

_ASKING: Final = "asking"


class Masks(NamedTuple):
    """The buckets of a node, by state; the names are those of the states."""

    owned: int = 0
    taking: int = 0
    draining: int = 0
    asking: int = 0


class Tenure:
    """The buckets that a node has or asks for. `had` is what its predecessor knew of them."""

    def __init__(self, had: Mapping[int, Had] | None = None) -> None:
        self.had: dict[int, Had] = dict(had or {})
        self._begun = False
        self._looked: Masks | None = None
        self._seen = Masks(
            *(
                sum(1 << bucket - 1 for bucket, one in self.had.items() if one.state == state)
                for state in Masks._fields
            )
        )

    def look(self, masks: Masks, before: Callable[[int], int], *, now: int) -> None:
        """Note what changed; `before` says which node had a bucket last, 0 for none that we know.

        A bucket that drains and is asked for again drains. What is there from the beginning was
        handed over: from whom it once came only the predecessor knew.
        """
        if masks == self._looked:
            return
        self._looked = masks
        before = before if self._begun else _not_known
        self._begun = True
        masks = masks._replace(asking=masks.asking & ~masks.draining)
        if masks == self._seen:
            return
        for state, mask, seen in zip(Masks._fields, masks, self._seen, strict=True):
            for bucket in buckets_of(mask & ~seen):
                self.had[bucket] = Had(state=state, since=now, of=self._came_from(bucket, before))
        everything = masks.owned | masks.taking | masks.draining | masks.asking
        self.had = {bucket: one for bucket, one in self.had.items() if everything >> bucket - 1 & 1}
        self._seen = masks

    def _came_from(self, bucket: int, before: Callable[[int], int]) -> int:
        had = self.had.get(bucket)
        if had is not None and had.state != _ASKING:
            return had.of  # it stayed here
        return before(bucket) or (had.of if had else 0)


def _not_known(_: int) -> int:
    return 0
