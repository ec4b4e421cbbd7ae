"""The program that serves the status socket: a process of its own, of ordinary priority.

A daemon goes before all other programs, so nothing that anybody may ask for is done in it, and no
thread of it may wait for a processor while it holds what the others need. So this program has the
clients: whatever they do, how many they are and how slow, they meet nobody else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from clusterip.adapters.statusserver import Server

_UNPRIVILEGED: Final = 65534
_NICE: Final = 5
_NO_NEW_PRIVILEGES: Final = 38  # linux/prctl.h
_VERSION_3: Final = 0x20080522  # linux/capability.h
_NO_CAPABILITY: Final = struct.pack("=6I", 0, 0, 0, 0, 0, 0)


def _be_ordinary() -> None:
    """Take the place of any other program, with the rights of none, for good; each is a wish.

    A container may keep back what it takes to be another user: then it is root without any
    capability.
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
    with contextlib.suppress(OSError):
        os.setresgid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
    with contextlib.suppress(OSError):
        os.setresuid(_UNPRIVILEGED, _UNPRIVILEGED, _UNPRIVILEGED)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.capset(struct.pack("=Ii", _VERSION_3, 0), _NO_CAPABILITY)


def main(words: list[str]) -> None:
    """Serve: `words` are the descriptors of the socket and of the pipe."""
    listener, pipe = map(int, words)
    _be_ordinary()
    Server(socket.socket(fileno=listener), socket.socket(fileno=pipe)).run()
