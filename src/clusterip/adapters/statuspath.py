"""Where the status sockets of daemons are: a folder of /run for each network namespace.

Everybody may look into it; who may connect, the mode and the group of each socket say. It is short
enough for a socket address, whatever the name of the cluster.
"""

from __future__ import annotations

import contextlib
import socket
import stat
from pathlib import Path
from typing import Final

from clusterip.adapters import clock
from clusterip.adapters.bpffs import namespace_cookie
from clusterip.core.errors import UsageError

ROOT: Final = Path("/run/clusterip-status")
_RESTART_SECONDS: Final = 10.0
"""For how long a socket that a daemon left to its successor is waited for."""


def folder() -> Path:
    """Return the folder of this network namespace, which need not exist."""
    return ROOT / str(namespace_cookie())


def path_of(cluster: str) -> Path:
    """Return where the status socket of a cluster's daemon is in this network namespace.

    UsageError for what is no name of a cluster: it must not lead elsewhere.
    """
    from clusterip.core.config import values  # noqa: PLC0415 - only a name is checked

    try:
        values.name(cluster)
    except values.BadValueError as error:
        raise UsageError(f"cluster {error.message}", error.cure) from error
    return folder() / cluster


def clusters() -> tuple[str, ...]:
    """Return the names of the clusters whose status socket somebody serves here, or soon will."""
    from clusterip.core.config import values  # noqa: PLC0415 - as above

    found = []
    with contextlib.suppress(OSError):
        for one in sorted(folder().iterdir()):
            with contextlib.suppress(values.BadValueError):
                if is_served(one) or is_left(one):
                    found.append(values.name(one.name))
    return tuple(found)


def leave(path: Path) -> None:
    """Mark a socket as left to a successor, as of now."""
    path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_ISVTX)


def is_left(path: Path) -> bool:
    """Tell whether a socket was left to a successor, a moment ago."""
    with contextlib.suppress(OSError):
        there = path.lstat()
        lately = clock.lately(there.st_ctime, _RESTART_SECONDS)
        return lately and stat.S_ISSOCK(there.st_mode) and bool(there.st_mode & stat.S_ISVTX)
    return False


def is_served(path: Path) -> bool:
    """Tell whether a socket is there that somebody has open; so it seems to who may not use it."""
    # Of another type, so that it is never connected to: the kernel looks for its owner first.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        try:
            one.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return path.is_socket()
    return True
