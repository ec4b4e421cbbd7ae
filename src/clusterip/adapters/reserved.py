"""A small file whose space is there before it is written, so that a full disk cannot stop that.

Beside the file NAME lies NAME.new, as large as the file may become. To write is to fill the second
in place, and to exchange the two names in one step (renameat2(2)): whoever is interrupted leaves
the old or the new, and neither a block nor an inode is asked for. A file that is there for a moment
only gives its blocks back to NAME.new when it is taken. What is longer than its content ends in
blanks or NULs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from clusterip.adapters import plainfiles

_PADDING: Final = b" \n\0"


class Reserved:
    """The file at `path`, of at most `size` bytes. Any of this may raise OSError."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._new = path.with_name(f"{path.name}.new")
        self._size = size

    def reserve(self) -> None:
        """Have the space there, and see that it can be written to."""
        with self._opened() as file:
            # Of what is there, only as much as is missing is asked for.
            os.posix_fallocate(file.fileno(), 0, self._size)
            file.write(b" ")

    def is_reserved(self) -> bool:
        """Tell whether space is reserved, which who ends in order gives back."""
        return self._new.exists()

    def exists(self) -> bool:
        """Tell whether there is such a file."""
        return self._path.exists()

    def written(self) -> float:
        """Return when it was written, s since 1970."""
        return self._path.stat().st_mtime

    def read(self) -> bytes | None:
        """Return the content, None if there is no such file."""
        try:
            return self._path.read_bytes().rstrip(_PADDING)
        except FileNotFoundError:
            return None

    def write(self, content: bytes) -> None:
        """Replace the content."""
        with self._opened() as file:
            file.write(content.ljust(self._size))
        if self.exists():
            plainfiles.exchange(self._new, self._path)
        else:
            self._new.rename(self._path)

    def take(self) -> bytes | None:
        """Return the content, and have no such file any more; its space stays reserved."""
        content = self.read()
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(self._new)
        return content

    def remove(self) -> None:
        """Have no such file any more."""
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the space back that is reserved."""
        self._new.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        fd = os.open(self._new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "r+b")
