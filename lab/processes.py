"""A program that runs beside the one that started it, and ends no later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Process:
    """A running program. What it prints, on either stream, is in the file `log`.

    It leads a process group of its own, so that Ctrl-C at the terminal reaches the lab alone and
    the lab decides the order in which things end. Not a session: the kernel would share the
    processor out by sessions first, whatever their nice values (autogroup, sched(7)), and what
    sleeps most would wait for 0.1 s and longer.
    """

    def __init__(
        self, command: Sequence[str], log: Path, directory: Path, env: Mapping[str, str]
    ) -> None:
        self.command = list(command)
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                cwd=directory,
                env=env,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """All that it printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    def wait_output(self, text: str, within: float = 5.0) -> None:
        """Wait until it has printed `text`; raises RuntimeError if it ends without."""

        def printed() -> bool:
            ended = not self.running
            if text in self.output:
                return True
            if ended:
                raise RuntimeError(f"{self.command} ended early: {self.output}")
            return False

        eventually(printed, within=within, what=f"{self.command} to print {text!r}")

    def stop(self, signum: signal.Signals = signal.SIGTERM, within: float = 5.0) -> int:
        """End it and whatever it started; returns its exit status, minus the signal if killed."""
        if self.running:
            self._popen.send_signal(signum)
        try:
            status = self._popen.wait(within)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            status = self._popen.wait()
        # Its children, where there are any, share its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return status
