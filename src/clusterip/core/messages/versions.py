"""Which versions of messages a program speaks.

A version says what a message means, and every one begins alike (`wire`): so each reader learns
which versions a sender speaks, whatever it is told in. All say what they have to say in the
highest version that everybody speaks. What only adds something needs no new version: a reader
skips the fields that it does not know.

version  since
1        0.1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Versions(NamedTuple):
    """The lowest and the highest version that a program speaks, 1..255, and all between."""

    lowest: int
    highest: int


SPOKEN: Final = Versions(1, 1)


class Spoken:
    """In which version to speak, as those speak who were heard within `lasting`, ns.

    1. Until anybody is heard it is the lowest, which most may read. Of two that have a version in
       common, one reads the lowest of the other, whose lowest is not below its own. It is told by
       an echo that what it said came, though it was not read (`core.lease.peers`): so it hears the
       other first, and speaks as that one reads from then on.
    2. What is not shown to be new may be a recording, which anybody can send. It only ever counts
       of a node of which nothing new is heard, makes nobody speak higher, and never lower than all
       who are heard can read.
    """

    def __init__(self, own: Versions, lasting: int) -> None:
        self.own = own
        self.lasting = lasting
        self._heard: dict[int, tuple[Versions, int]] = {}
        self._claimed: dict[int, tuple[Versions, int]] = {}
        self._version = own.lowest
        self.holds_until = 0
        """Before that, ns, `_version` is what `version` returns."""

    def hear(self, node: int, speaks: Versions, *, now: int) -> None:
        """Note what a node speaks, as a new message of it says."""
        before = self._heard.get(node)
        if before is None or before[0] != speaks or before[1] + self.lasting <= now:
            self.holds_until = 0
        self._heard[node] = speaks, now

    def claim(self, node: int, speaks: Versions, *, now: int) -> None:
        """Note what a node may speak, as a message says that may be new, read or not.

        Of several it is the one that says the lowest, for as long as that is said.
        """
        before = self._lately(self._claimed, now).get(node, speaks)
        if speaks.highest <= before.highest:
            self._claimed[node] = speaks, now
            self.holds_until = 0

    def _lately(self, said: Mapping[int, tuple[Versions, int]], now: int) -> dict[int, Versions]:
        return {node: speaks for node, (speaks, at) in said.items() if at + self.lasting > now}

    def of(self, *, now: int) -> dict[int, Versions]:
        """Return what each node speaks that was heard of late."""
        return self._lately(self._claimed, now) | self._lately(self._heard, now)

    def version(self, *, now: int) -> int:
        """Return the highest version that all of them speak, as far as this node does.

        Where there is none that is the highest of the oldest.
        """
        if now >= self.holds_until:
            self._version = self._find_version(now)
            said = (at for known in (self._heard, self._claimed) for _, at in known.values())
            self.holds_until = min(
                (at + self.lasting for at in said if at + self.lasting > now), default=0
            )
        return self._version

    def _find_version(self, now: int) -> int:
        heard = self._lately(self._heard, now).values()
        if not heard:
            return self.own.lowest
        found = min(speaks.highest for speaks in self.of(now=now).values())
        lowest = max(speaks.lowest for speaks in heard)
        if lowest <= min(speaks.highest for speaks in heard):
            found = max(found, lowest)
        return max(self.own.lowest, min(found, self.own.highest))

    def held_down_by(self, *, now: int) -> list[int]:
        """Return the nodes that keep this one from its highest version, ascending."""
        return sorted(
            node for node, speaks in self.of(now=now).items() if speaks.highest < self.own.highest
        )
