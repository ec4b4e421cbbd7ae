"""Leaving nothing behind, however a run ends.

Everything a run makes carries the run's name: a directory, and namespaces that begin with it. So
what is to be removed is found by looking, not by remembering, and a run that was killed (SIGKILL,
power) is cleared away by the next one. A run is alive while it holds the lock on its directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lab.namespace import NETNS, Namespace
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

RUNS = Path("/run/clusterip-lab")
PINS = Path("/sys/fs/bpf/clusterip")
DAEMONS = Path("/run/clusterip-peer")
STATUS = Path("/run/clusterip-status")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end. `status` is what a shell would report."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"ended by {signal.Signals(signum).name}")
        self.status = 128 + signum


@contextlib.contextmanager
def claimed_run() -> Iterator[Path]:
    """Make the directory of a new run; on leaving, remove all that carries its name."""
    with signals_raise():
        # The lock is on /run, for RUNS itself comes and goes with the runs.
        with locked(RUNS.parent):
            RUNS.mkdir(exist_ok=True)
            for other in RUNS.iterdir():
                _sweep_if_dead(other)
            run = RUNS / f"ci-{os.getpid()}-{secrets.token_hex(2)}"
            run.mkdir()
            alive = contextlib.ExitStack()
            alive.enter_context(locked(run))
        try:
            yield run
        finally:
            with signals_held(), alive:
                sweep(run)
                with locked(RUNS.parent), contextlib.suppress(OSError):
                    RUNS.rmdir()


def sweep(run: Path) -> None:
    """Remove the namespaces of a run with their processes and pins, its mounts and its files."""
    paths = sorted(NETNS.glob(f"{run.name}-*"))
    with ThreadPoolExecutor(max(1, len(paths))) as pool:
        list(pool.map(lambda path: _remove_namespace(path, run), paths))
    for mount in _mounts_below(run):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(run, ignore_errors=True)


def _remove_namespace(path: Path, run: Path) -> None:
    namespace = Namespace(path.name.rpartition("-")[2], path.name, run)
    # First the processes: a daemon would put back what is taken from it.
    for pid in _processes_in(namespace):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        eventually(lambda: not _processes_in(namespace))
    with contextlib.suppress(OSError):  # half-made: a file that no namespace is mounted on yet
        shutil.rmtree(PINS / str(namespace.cookie), ignore_errors=True)
        shutil.rmtree(DAEMONS / str(namespace.cookie), ignore_errors=True)
        shutil.rmtree(STATUS / str(namespace.cookie), ignore_errors=True)
    subprocess.run(["ip", "netns", "delete", namespace.full_name], check=False, capture_output=True)


def _processes_in(namespace: Namespace) -> list[int]:
    told = subprocess.run(
        ["ip", "netns", "pids", namespace.full_name], check=False, capture_output=True, text=True
    )
    return [int(pid) for pid in told.stdout.split()]


def _mounts_below(run: Path) -> list[str]:
    mounts = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return [mount for mount in mounts if mount.startswith(f"{run}/")]


def _sweep_if_dead(run: Path) -> None:
    with contextlib.suppress(BlockingIOError), locked(run, fcntl.LOCK_NB):
        sweep(run)


@contextlib.contextmanager
def locked(directory: Path, extra: int = 0) -> Iterator[None]:
    """Hold the lock on a directory; the kernel lets it go when the process ends."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | extra)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals that end a program wait until the body is done; it must be short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Have the signals that end a program raise Interrupted meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it is interrupted
        return
    before = {signum: signal.signal(signum, _interrupt) for signum in _ENDINGS}
    try:
        yield
    finally:
        for signum, previous in before.items():
            signal.signal(signum, previous)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    raise Interrupted(signum)
