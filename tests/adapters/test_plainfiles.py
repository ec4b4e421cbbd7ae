"""Files that others name: regular ones are read, and nothing else is waited for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterip.adapters.plainfiles import LONGEST, beginning


def test_a_regular_file(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"text\n")
    link.symlink_to(file)
    assert beginning(file) == beginning(str(link)) == b"text\n"


@pytest.mark.parametrize("more", [-1, 0, 1, 1 << 40])
def test_a_long_one(tmp_path: Path, more: int) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, LONGEST + more)
    assert beginning(file) == bytes(LONGEST + min(more, 1))


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def unix_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fifo, "Not a regular file"),
        (unix_socket, os.strerror(errno.ENXIO)),
        (lambda _: Path("/dev/zero"), "Not a regular file"),
        (lambda path: path.parent, os.strerror(errno.EISDIR)),
        (lambda path: path, os.strerror(errno.ENOENT)),
    ],
)
def test_what_is_none(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(OSError, match=said):
        beginning(make(tmp_path / "it"))
