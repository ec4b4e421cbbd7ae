"""The program that serves the status socket: a process of its own, of ordinary priority.

A daemon goes before all other programs, so nothing that anybody may ask for is done in it, and no
thread of it may wait for a processor while it holds what the others need. So this program has the
clients: whatever they do, how many they are and how slow, they meet nobody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from clusterip.adapters.statusserver import Server

_UNPRIVILEGED: Final = 65534
_NICE: Final = 5


def _be_ordinary() -> None:
    """Take the place of any other program, with the rights of none; each is a wish.

    Of root only what is needed for removing the socket at the end is kept: the way back.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(one, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0", encoding="ascii")
    with contextlib.suppress(OSError):
        os.setgroups([])
        os.setegid(_UNPRIVILEGED)
        os.seteuid(_UNPRIVILEGED)


def _remove(path: str, inode: int) -> None:
    """Remove the socket, if it is ours still."""
    with contextlib.suppress(OSError):
        os.seteuid(0)
    with contextlib.suppress(OSError):
        place = Path(path)
        if place.stat().st_ino == inode:
            place.unlink()
            place.parent.rmdir()
            place.parent.parent.rmdir()


def main(words: list[str]) -> None:
    """Serve: `words` are the descriptors of the socket and of the pipe, its path, its inode."""
    listener, pipe, path, inode = words
    _be_ordinary()
    try:
        Server(socket.socket(fileno=int(listener)), socket.socket(fileno=int(pipe))).run()
    finally:
        _remove(path, int(inode))


if __name__ == "__main__":
    main(sys.argv[1:])
