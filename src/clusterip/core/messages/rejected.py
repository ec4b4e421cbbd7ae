"""Datagrams of which nothing was taken in: who seems to have sent them, why not, how many.

Anybody can send anything in anybody's name: how many of them are remembered is bounded.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 64
"""How many are remembered. One that is new takes the place of the rarest, or of an old one."""
OLD: Final = 600_000_000_000
"""What was not seen for so long, ns, goes first."""


class Rejected:
    """Those of one sender, source and reason: their number, and when the last came, ns."""

    __slots__ = ("count", "last", "reason", "sender", "source")

    def __init__(self, sender: int, source: str, reason: str) -> None:
        self.sender = sender
        """A node; 0 where it is not known."""
        self.source = source
        """The address that they came from."""
        self.reason = reason
        self.count = 0
        self.last = 0


class Rejections:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[tuple[int, str, str], Rejected] = {}

    def note(self, sender: int, source: str, reason: str, *, now: int) -> None:
        """Note one."""
        what = (sender, source, reason)
        one = self._all.get(what)
        if one is None:
            if len(self._all) == MOST:
                del self._all[min(self._all, key=lambda each: self._worth(each, now))]
            one = self._all[what] = Rejected(*what)
        one.count += 1
        one.last = now

    def _worth(self, what: tuple[int, str, str], now: int) -> tuple[bool, int, int]:
        one = self._all[what]
        return one.last + OLD > now, one.count, one.last

    def latest(self) -> list[Rejected]:
        """Return all, the latest first."""
        return sorted(self._all.values(), key=lambda one: -one.last)
