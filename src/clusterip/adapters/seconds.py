"""The moment in each second at which all that looks now and then looks: one wake-up for all of it.

A processor that is woken has forgotten what it knew, so two looks apart cost nearly twice.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

_BEGAN: Final = time.monotonic()
"""Daemons of one machine do not all look in the same moment."""
_LEAST_SECONDS: Final = 0.01


def next_second() -> float:
    """Return when it is next, by the clock of the loop, s: in 10 ms at least, 1.01 s at most."""
    now = asyncio.get_running_loop().time()
    wait = 1.0 - (now - _BEGAN) % 1.0
    return now + (wait if wait > _LEAST_SECONDS else wait + 1.0)


async def until_next_second() -> None:
    """Sleep until it is."""
    await asyncio.sleep(next_second() - asyncio.get_running_loop().time())
