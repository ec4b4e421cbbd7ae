"""What exit statuses mean: one number for one thing, in the help of each command.

The manual page has the whole table under EXIT STATUS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from clusterip.core.errors import RefusedError, SystemFaultError, UsageError

DONE: Final = 0
REFUSED: Final = RefusedError.exit_status
WRONG: Final = UsageError.exit_status
UNABLE: Final = SystemFaultError.exit_status
FILE: Final = "bad command line, or a file is missing, cannot be read or has faults"
"""What WRONG means where files are read."""
_COMMON: Final[Mapping[int, str]] = MappingProxyType(
    {
        DONE: "done",
        REFUSED: "refused, nothing changed",
        WRONG: "bad command line",
        UNABLE: "the system cannot do it",
    }
)


def told(words: Mapping[int, str] = MappingProxyType({})) -> str:
    """Return what help says: the common statuses, and `words` in their place; "" is for never."""
    meanings = sorted({**_COMMON, **words}.items())
    listed = "; ".join(f"{status} {word}" for status, word in meanings if word)
    return f"exit status: {listed}\n"
