"""A network namespace: a machine as far as the network can tell."""

from __future__ import annotations

import ctypes
import os
import shlex
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lab.processes import Process
from lab.wait import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

NETNS = Path("/run/netns")
NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # The interpreter and the project may lie below a directory that only root may enter.
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)
"""Put before a command, runs it as a user who may read everything and change nothing."""
_CLONE_NEWNET = 0x40000000
_SO_NETNS_COOKIE = 71

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.setns.restype = ctypes.c_int


class Namespace:
    """One node of the lab. `name` is what a reader calls it, `full_name` what `ip netns` does.

    Programs run in `directory`. Entering is by nsenter and setns: `ip netns exec` also mounts a
    fresh /sys, which hides the pins in bpffs.
    """

    def __init__(self, name: str, full_name: str, directory: Path) -> None:
        self.name = name
        self.full_name = full_name
        self.path = NETNS / full_name
        self.directory = directory
        self.env = os.environ | {"PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C"}
        # Many commands run here: they need not compile their sources each time.
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._started: list[Process] = []

    def __repr__(self) -> str:
        return f"<{self.name}: {self.full_name}>"

    def run(
        self, *command: str, check: bool = True, within: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; with `check`, raises RuntimeError unless it exits with 0.

        TimeoutError if that has not come in time.
        """
        try:
            done = subprocess.run(
                self._entering(command),
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=within,
                cwd=self.directory,
                env=self.env,
            )
        except subprocess.TimeoutExpired as late:
            what = f"{self.name}# {shlex.join(command)}"
            raise TimeoutError(f"{what}: not ended within {within:g} s") from late
        if check and done.returncode:
            told = f"{done.stdout}{done.stderr}".strip()
            raise RuntimeError(
                f"{self.name}# {shlex.join(command)}: exit status {done.returncode}: {told}"
            )
        return done

    def start(self, *command: str) -> Process:
        """Start a program that runs until it is stopped, at the latest with the lab."""
        log = self.directory / f"{self.name}-{len(self._started)}-{Path(command[0]).name}.log"
        process = Process(self._entering(command), log, self.directory, self.env)
        self._started.append(process)
        return process

    def confine(self, processors: set[int]) -> None:
        """Let what `start` started run on these processors only, as on a machine that has no more.

        Of a program with threads it is the main one, and those that it starts from now on.
        """
        for process in self._started:
            if process.running:
                os.sched_setaffinity(process.pid, processors)

    def stop_all(self) -> None:
        """Stop whatever `start` started, the newest first."""
        for process in reversed(self._started):
            process.stop()

    def call(self, function: Callable[[], T]) -> T:
        """Call a Python function from inside: the sockets it opens are of this namespace."""

        def inside() -> T:
            self._enter()
            return function()

        # A namespace is a property of the thread: this one ends with the call.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(inside).result()

    @cached_property
    def cookie(self) -> int:
        """The number that the kernel gave this namespace; it is never given again."""

        def ask() -> int:
            with socket.socket() as probe:
                raw = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
                return int.from_bytes(raw, "little")

        return self.call(ask)

    def _entering(self, command: tuple[str, ...]) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--", *command]

    def _enter(self) -> None:
        with self.path.open("rb") as namespace:
            if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.path}")
