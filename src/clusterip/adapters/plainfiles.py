"""Files and folders by their names, no more."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path
from typing import Final

LONGEST: Final = 1 << 20
"""How many bytes are read at most."""

_AT_FDCWD: Final = -100
_EXCHANGE: Final = 2  # RENAME_EXCHANGE, linux/fs.h
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> None:
    """Let two files or folders have one another's name, in one step; OSError where that fails."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(other))


def beginning(path: str | Path) -> bytes:
    """Return what a regular file begins with, at most LONGEST bytes and one more.

    Somebody else may name it, so this never waits for what may not come.
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
