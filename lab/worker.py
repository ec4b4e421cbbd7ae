"""Measuring from a process of its own, so that what else runs in the caller does not delay it.

A worker is a module of the lab, run in a node as `python -m MODULE ORDER`, where ORDER is a JSON
object. It says "ready" when it is under way, goes on until SIGTERM, and then writes what it
found, one JSON object a line. Its times are CLOCK_MONOTONIC's, which all processes share.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lab.servers import open_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.topology import Node

_ROOT: Final = Path(__file__).parents[1]


class Worker:
    """A running worker, seen from the process that started it."""

    def __init__(self, node: Node, module: str, **order: Any) -> None:
        number = len(list(node.directory.glob(f"{node.name}-*.jsonl")))
        self.file = node.directory / f"{node.name}-{number}.jsonl"
        self.file.touch()
        text = json.dumps({**order, "file": str(self.file)})
        python = (sys.executable, "-m", module, text)
        self._process = node.start("env", f"PYTHONPATH={_ROOT / 'src'}:{_ROOT}", *python)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_ready(self, within: float = 30.0) -> None:
        """Wait until it says that it is under way; RuntimeError if it ends before."""
        self._process.wait_output("ready", within)

    def lines(self) -> list[Any]:
        """Return what it has written so far."""
        text = self.file.read_text()
        complete = text[: text.rfind("\n") + 1]  # the rest is still being written
        return [json.loads(line) for line in complete.splitlines()]

    def stop(self, within: float) -> list[Any]:
        """Tell it to finish; returns all it wrote. RuntimeError if it failed."""
        status = self._process.stop(within=within)
        if status:
            raise RuntimeError(f"exit status {status}: {self._process.output}")
        return self.lines()


class Order:
    """The worker's side: what was ordered, when to finish, where to write."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = json.loads(sys.argv[1])
        self._file = Path(self._values.pop("file"))
        self.finishing = False
        signal.signal(signal.SIGTERM, self._finish)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files(), most))

    @property
    def values(self) -> dict[str, Any]:
        """The arguments that the worker was started with."""
        return self._values

    def ready(self) -> None:
        """Say that it is under way."""
        print("ready", flush=True)

    def write(self, lines: Iterable[Any]) -> None:
        """Add lines to what was found."""
        with self._file.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def _finish(self, _signum: int, _frame: object) -> None:
        self.finishing = True
