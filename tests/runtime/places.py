"""A host with a daemon as a process, in a network namespace of its own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from clusterip.adapters import control
from clusterip.adapters.clock import boottime
from clusterip.adapters.memory import RunFiles
from clusterip.core.config.key_file import Key, new_file
from clusterip.core.messages import request
from tests.cli.conftest import environment
from tests.namespaces import Traces, traces
from tests.served import until

PATIENCE = 20.0
FILE = """\
[cluster]
name = "web"
interface = "eth0"
key_file = "{keys}"
profile = "fast"
buckets = 4

[[vip]]
address = "10.9.0.100"

[[node]]
name = "web1"
"""
WITNESS = '[[node]]\nname = "judge"\nwitness = true\n'


class Daemon:
    """A daemon that runs, or ran."""

    def __init__(self, words: tuple[str, ...], log: Path, more: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                words, env={**environment(), **more}, stderr=file, stdout=file
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def await_line(self, part: str) -> None:
        until(lambda: part in self.said)

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        self.tell(signal.SIGTERM)
        return self.ended()


class Place:
    """A host: its file, its daemons, and what its service manager is told."""

    def __init__(self, folder: Path, pins: Path, manager: socket.socket) -> None:
        self.folder, self.pins, self.manager = folder, pins, manager
        self.file = folder / "clusterip.toml"
        keys = folder / "keys"
        keys.write_text(new_file(Key(1, b"k" * 32)))
        keys.chmod(0o600)
        self.text = FILE.format(keys=keys)
        self.file.write_text(self.text)
        self.daemons: list[Daemon] = []
        self.program = ("-m", "clusterip.cli.main")
        """What Python runs as the command."""
        self.before: tuple[str, ...] = ()
        """What is to start it."""
        self.environment = {"NOTIFY_SOCKET": manager.getsockname()}

    def start(self, *more: str, verb: str = "run", python: str = sys.executable) -> Daemon:
        more = more or ("--node", "web1")
        words = (*self.before, python, *self.program, verb, "-c", str(self.file), *more)
        log = self.folder / f"log{len(self.daemons)}"
        self.daemons.append(Daemon(words, log, self.environment))
        return self.daemons[-1]

    def ready(self, *more: str, verb: str = "run", python: str = sys.executable) -> Daemon:
        daemon = self.start(*more, verb=verb, python=python)
        assert self.told().startswith("READY=1\n"), daemon.said
        return daemon

    def serving(self) -> Daemon:
        """Return a daemon that holds all there is."""
        # One that knows of no promise waits for the longest there may be.
        memory = RunFiles("web")
        with memory.claimed():
            memory.set_note(boottime())
        daemon = self.ready()
        until(lambda: self.show()["held"] == [1, 2, 3, 4])
        return daemon

    def await_status(self, part: str) -> str:
        """Wait until the service manager is told something, and return that."""
        while part not in (told := self.told()):
            pass
        return told

    def told(self) -> str:
        """Return what the service manager is told next."""
        return self.manager.recv(1000).decode()

    def ask(self, verb: str, **values: Any) -> Any:
        asked = request.read(json.dumps({"verb": verb, **values}).encode())
        return msgspec.to_builtins(control.ask("web", asked), str_keys=True)

    def show(self) -> dict[str, Any]:
        seen: dict[str, Any] = self.ask("show")
        return seen

    def change(self, old: str, new: str) -> None:
        assert old in self.text
        self.file.write_text(self.text.replace(old, new))

    def traces(self) -> Traces:
        return traces(self.pins)
