"""Which program uses a UDP port of this network namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class User(NamedTuple):
    """A process, and the name of its program."""

    pid: int
    name: str


def user(port: int) -> User | None:
    """Return a process that has the port open, None if none is known: who is not root sees few."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").iterdir():
        if sockets and process.name.isdigit() and sockets & _open(process):
            with contextlib.suppress(OSError):
                name = (process / "comm").read_text(errors="replace").strip()
                return User(int(process.name), name)
    return None


def _inodes(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets bound to it: proc_pid_net(5), as one of this thread."""
    for table in ("udp", "udp6"):
        with contextlib.suppress(FileNotFoundError):
            lines = Path("/proc/thread-self/net", table).read_text(encoding="ascii").splitlines()
            for line in lines[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _open(process: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for one in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(one.readlink()))
    return found
