"""When what ends again and again may begin anew: at once, and then more and more seldom."""

from __future__ import annotations

from typing import Final

LONG_SECONDS: Final = 60.0
"""What lived for so long did not end early; and how long is waited at most."""
AT_ONCE: Final = 2
"""How often it may end early before it is waited."""


class Turns:
    """The turns of one such thing. Times are s, of any clock that does not go back."""

    def __init__(self) -> None:
        self.at = 0.0
        """From when on it may begin."""
        self._early = 0

    @property
    def too_many(self) -> bool:
        """Whether it ended early too often, one time after the other."""
        return self._early > AT_ONCE

    def ended(self, lived: float, now: float) -> None:
        """Take in that it ended after so long."""
        self._early = 1 if lived >= LONG_SECONDS else self._early + 1
        more = self._early - AT_ONCE - 1
        # A power of two that is far too large is no number.
        self.at = now + (min(2.0 ** min(more, 10), LONG_SECONDS) if more >= 0 else 0.0)
