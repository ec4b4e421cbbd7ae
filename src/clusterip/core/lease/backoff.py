"""When to stop asking for a while: two that ask for one bucket may split the votes for good.

It takes two nodes that do not hear each other, or they would make the same plan, and voters in
even number. No rule of safety is concerned: this only makes one of them withdraw its request,
each for a time of its own, so that the other finds the votes free.
"""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Asks in rounds of `round_lasts` ns, and yields for `yield_lasts` ns after a vain one."""

    def __init__(self, round_lasts: int, yield_lasts: int) -> None:
        self.round_lasts = round_lasts
        self.yield_lasts = yield_lasts
        self.round_ends = 0
        self.yield_ends = 0
        self.waited = 0
        self.given_up = 0

    def yielded(self, waiting: int, contested: Callable[[], int], *, now: int) -> int:
        """Return the mask of buckets not to ask for now.

        `waiting` are those we should own and do not have; `contested` tells which of them some
        voter grants to another.
        """
        if now >= self.yield_ends:
            self.given_up = 0
        self.waited &= waiting
        if now >= self.round_ends:
            if self.waited:
                self.given_up = self.waited & contested()
                self.yield_ends = now + self.yield_lasts
            self.waited = waiting
            self.round_ends = now + self.round_lasts
        return self.given_up
