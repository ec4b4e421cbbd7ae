"""Reading a file that somebody else names, and never waiting for what may not come."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

LONGEST: Final = 1 << 20
"""How many bytes are read at most."""


def beginning(path: str | Path) -> bytes:
    """Return what a regular file begins with, at most LONGEST bytes and one more.

    OSError if it cannot be read, and for a FIFO, a device or a socket: opening and reading those
    may last for ever.
    """
    with open(path, "rb", buffering=0, opener=_open) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        data = bytearray()
        while len(data) <= LONGEST and (more := file.read(LONGEST + 1 - len(data))):
            data += more
        return bytes(data)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)
