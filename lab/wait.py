"""Waiting for a condition, never for a length of time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds for a wait that is no judgement and only ends what would never come, on any machine."""
_POLL_SECONDS = 0.02


def eventually(check: Callable[[], T], *, within: float = 5.0, what: str = "") -> T:
    """Return the first true value of `check`, which is asked until `within` seconds are over.

    Raises TimeoutError, which says `what` was waited for and what came instead.
    """
    deadline = time.monotonic() + within
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() >= deadline:
            awaited = what or "the condition"
            raise TimeoutError(f"{awaited}: not within {within} s; last seen: {value!r}")
        time.sleep(_POLL_SECONDS)
