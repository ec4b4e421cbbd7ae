"""A small file system in a mount namespace of a test's own, and how it becomes full."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespaces import run

_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Have a tmpfs with those options at `folder`, for this thread."""
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY)
    # A thread that shares its root with others cannot change the namespace back.
    assert _libc.unshare(_CLONE_NEWNS) == 0
    here = Path.cwd()
    try:
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNS) == 0
        os.close(before)
        os.chdir(here)


def fill(folder: Path) -> None:
    """Leave no block free, and no inode."""
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    with contextlib.suppress(OSError):
        for number in range(1000):
            (folder / f"empty{number}").touch()
    with pytest.raises(OSError, match="No space left"):
        (folder / "one more").write_bytes(b"x")
