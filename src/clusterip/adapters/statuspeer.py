"""What both clients of a status socket share: connecting to it, and what is said where it fails.

Who follows a journal goes on where a connection ends without the daemon's last word: the program
that serves it ended, or put it off, and the daemon has another one soon. `Process` tells whether
there still is a daemon.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from typing import Final

from clusterip.adapters import runfiles, statuspath
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello

PATIENCE_SECONDS: Final = 10.0
"""How long an answer may take."""
NEXT_SECONDS: Final = 60.0
"""How long the next one may take to be there: a successor, or another program of the daemon."""
AGAIN_SECONDS: Final = 0.1
SOON_SECONDS: Final = 0.02
_CREDENTIALS: Final = struct.Struct("3i")


class Process:
    """The process that listens on the other side, as far as it can be seen from here."""

    def __init__(self, connected: socket.socket) -> None:
        self._fd = -1
        raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid = _CREDENTIALS.unpack(raw)[0]
        if pid > 0:  # 0: in another namespace of processes
            with contextlib.suppress(OSError):
                self._fd = os.pidfd_open(pid)

    def has_ended(self) -> bool:
        """Tell whether it ended, for certain."""
        if self._fd < 0:
            return False
        one = select.poll()
        one.register(self._fd, select.POLLIN)
        return bool(one.poll(0))

    def close(self) -> None:
        """Look at it no longer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def try_connect(cluster: str) -> socket.socket | None:
    """Return a connection that does not block, None where too many wait to be let in.

    What else there is none for is raised as a ClusterIPError.
    """
    path = str(statuspath.path_of(cluster))
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(one.close)
            one.connect(path)
            stack.pop_all()
    except BlockingIOError:
        return None
    except OSError as error:
        raise refusal(cluster, error) from error
    return one


def greeted(cluster: str, said: feed.Said | feed.Unknown) -> Hello:
    """Return what a daemon says of itself; an error where its first line is another one."""
    if isinstance(said, Hello):
        return said
    raise does_not_know(cluster)


def said_in(cluster: str, line: bytes) -> feed.Said | feed.Unknown:
    """Return what a daemon says in a line; what it says went wrong is raised."""
    try:
        said = feed.read(line)
    except ValueError as error:
        raise does_not_know(cluster, f": {error}") from error
    if isinstance(said, feed.Busy):
        raise BusyError(said.message, said.cure)
    if isinstance(said, feed.Not):
        raise SystemFaultError(said.message, said.cure)
    return said


class BusyError(SystemFaultError):
    """Too many are served already."""


class NobodyError(SystemFaultError):
    """Nobody listens."""


class LostError(SystemFaultError):
    """The connection ended, and nobody said why."""


def passes(cluster: str, error: SystemFaultError, gives_up: float) -> bool:
    """Tell whether it is tried again until then (time.monotonic()): it may be over in a moment.

    So it is where too many ask, and where nobody answers in a planned restart.
    """
    if time.monotonic() >= gives_up:
        return False
    if isinstance(error, BusyError):
        return True
    return isinstance(error, LostError | NobodyError) and _comes(cluster)


def _comes(cluster: str) -> bool:
    """Tell whether a successor will listen; for who is not root the socket that was left says so.

    A daemon that goes without one is not waited for.
    """
    if statuspath.is_left(statuspath.path_of(cluster)):
        return True
    with contextlib.suppress(OSError):  # it is root's
        return runfiles.is_handed_over(cluster) and runfiles.is_running(cluster)
    return False


def lost(cluster: str) -> LostError:
    """Return what is to be said where a connection ended without a word."""
    return LostError(
        f"the daemon of cluster {cluster} ended the connection",
        "ask again; if it ended itself, its log says why: journalctl -u clusterip",
    )


def ended(cluster: str) -> SystemFaultError:
    """Return what is to be said where a daemon ended, and nobody said why."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} ended", "see why in its log: journalctl -u clusterip"
    )


def failed(cluster: str) -> SystemFaultError:
    """Return what is to be said where a daemon ended for a fault."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} ended: something failed", "see its log"
    )


def does_not_answer(cluster: str) -> SystemFaultError:
    """Return what is to be said where nothing comes in time."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} does not answer",
        "it may be starved, or too many may ask: see its log, and try again",
    )


def does_not_know(cluster: str, why: str = "") -> SystemFaultError:
    """Return what is to be said where what comes is not understood."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} answers what this program does not know{why}",
        "have it run the program that is installed now: clusterip restart",
    )


def refusal(cluster: str, error: OSError) -> ClusterIPError:
    """Return what is to be said where there is no connection, for that reason."""
    if isinstance(error, PermissionError):
        return RefusedError(
            f"the status of cluster {cluster} is not for this user",
            "ask as root, or as a member of the group that `status_group` in the file names",
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return NobodyError(
            f"no daemon of cluster {cluster} tells its status in this network namespace",
            "start it: systemctl start clusterip, or `clusterip run`; one that is older than 0.2"
            " tells it to root only, by `clusterip show`",
        )
    return SystemFaultError(
        f"the status of cluster {cluster} cannot be asked for: {error.strerror or error}",
        "see what the system lacks, and try again",
    )
