"""Which versions of messages a program speaks.

A version says what a message means, and every one begins alike (`wire`): so each reader learns
which versions a sender speaks, whatever it is told in. All say what they have to say in the
highest version that everybody speaks. What only adds something needs no new version: a reader
skips the fields that it does not know.

version  since
1        0.1.0
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Versions(NamedTuple):
    """The lowest and the highest version that a program speaks, 1..255, and all between."""

    lowest: int
    highest: int


SPOKEN: Final = Versions(1, 1)


class Spoken:
    """In which version to speak, as those speak who were heard within `lasting`, ns.

    Until anybody is heard it is the lowest, which most may read.
    """

    def __init__(self, own: Versions, lasting: int) -> None:
        self.own = own
        self.lasting = lasting
        self._heard: dict[int, tuple[Versions, int]] = {}

    def hear(self, node: int, speaks: Versions, *, now: int) -> None:
        """Note what a node speaks, as one of its messages says, read or not."""
        self._heard[node] = speaks, now

    def of(self, *, now: int) -> dict[int, Versions]:
        """Return what each node speaks that was heard of late."""
        return {
            node: speaks for node, (speaks, at) in self._heard.items() if at + self.lasting > now
        }

    def version(self, *, now: int) -> int:
        """Return the highest version that all of them speak, as far as this node does."""
        heard = self.of(now=now)
        if not heard:
            return self.own.lowest
        highest = min(speaks.highest for speaks in heard.values())
        return max(self.own.lowest, min(highest, self.own.highest))

    def held_down_by(self, *, now: int) -> list[int]:
        """Return the nodes that keep this one from its highest version, ascending."""
        return sorted(
            node for node, speaks in self.of(now=now).items() if speaks.highest < self.own.highest
        )
