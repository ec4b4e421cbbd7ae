"""Units of time: all times in the core are nanoseconds (int)."""

from typing import Final

MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000 * MILLISECOND
