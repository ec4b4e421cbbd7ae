"""Which daemons run here: a folder in /run for each cluster of a network namespace.

A daemon keeps there its lock, its control socket and its memory (`memory`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusterip.adapters import clock
from clusterip.adapters.bpffs import namespace_cookie
from clusterip.adapters.runspace import RunSpace
from clusterip.core.errors import UsageError

ROOT: Final = Path("/run/clusterip-peer")
LOCK: Final = "lock"
CONTROL: Final = "control"
RESTART_SECONDS: Final = 10.0
"""How old a hand-over is at most whose successor is waited for."""


def folder_of(cluster: str) -> Path:
    """Return the folder of a cluster in this network namespace, which need not exist.

    UsageError for what is no name of a cluster: it must not lead elsewhere.
    """
    from clusterip.core.config import values  # noqa: PLC0415 - only a name is checked

    try:
        values.name(cluster)
    except values.BadValueError as error:
        raise UsageError(f"cluster {error.message}", error.cure) from error
    return ROOT / str(namespace_cookie()) / cluster


def running() -> tuple[str, ...]:
    """Return the names of the clusters whose daemons run in this network namespace.

    One in a planned restart does, though nobody has its lock for a moment.
    """
    return tuple(one.name for one in _folders() if _runs(one))


def killed() -> tuple[str, ...]:
    """Return the names of the clusters whose daemons ended here without being told to."""
    return tuple(
        one.name for one in _folders() if not _runs(one) and RunSpace(one).note.is_reserved()
    )


def is_handed_over(cluster: str) -> bool:
    """Tell whether the daemon of a cluster is about to be replaced by its successor."""
    return RunSpace(folder_of(cluster)).handover.exists()


def _folders() -> list[Path]:
    folder = ROOT / str(namespace_cookie())
    return sorted(folder.iterdir()) if folder.is_dir() else []


def is_running(cluster: str) -> bool:
    """Tell whether the daemon of a cluster runs in this network namespace; see `running`."""
    return _runs(folder_of(cluster))


def is_daemon(cluster: str, pid: int) -> bool:
    """Tell whether a process is the daemon of a cluster here: it has the lock open."""
    lock = folder_of(cluster) / LOCK
    with contextlib.suppress(OSError):
        return any(one.samefile(lock) for one in Path(f"/proc/{pid}/fd").iterdir() if one.exists())
    return False


def _runs(folder: Path) -> bool:
    # In this order: who takes the hand-over has the lock already.
    return _handed_lately(folder) or _locked(folder / LOCK)


def _handed_lately(folder: Path) -> bool:
    """Tell whether a hand-over is there that is not of a successor which never took it."""
    with contextlib.suppress(OSError):
        return clock.lately(RunSpace(folder).handover.written(), RESTART_SECONDS)
    return False


def _locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


@contextlib.contextmanager
def control_path(cluster: str) -> Iterator[str]:
    """Give a path to a cluster's control socket that is short enough for a socket address."""
    fd = os.open(folder_of(cluster), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{CONTROL}"
    finally:
        os.close(fd)
