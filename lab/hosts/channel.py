"""Questions and answers as lines of JSON over a Unix socket, as QEMU and its guest agent talk."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from lab.wait import eventually

if TYPE_CHECKING:
    from pathlib import Path

_BYTES: Final = 1 << 16
_SOONEST, _LATEST = 0.05, 0.4
"""Seconds between two questions whether a command has ended: each costs the guest something."""


class Refused(RuntimeError):  # noqa: N818  (an answer, not a fault of ours)
    """The other side answered with an error."""


class Channel:
    """The client's end. Threads may share it; one question is under way at a time."""

    def __init__(self, path: Path, *, within: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._data = b""

        def connected() -> bool:
            return path.exists() and not self._socket.connect_ex(str(path))

        eventually(connected, within=within, what=f"{path.name} to listen")

    def ask(self, execute: str, *, within: float = 20.0, **arguments: Any) -> Any:
        """Ask for something and return the answer; events and late answers are passed over.

        Raises Refused with what the other side says, TimeoutError if it says nothing.
        """
        with self._lock:
            number = next(self._numbers)
            question = {"execute": execute, "arguments": _named(arguments), "id": number}
            deadline = time.monotonic() + within
            self._socket.settimeout(within)
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            while True:
                answer = self._line(deadline, execute)
                if answer.get("id") != number:
                    continue
                if "error" in answer:
                    raise Refused(f"{execute}: {answer['error'].get('desc', answer['error'])}")
                return answer["return"]

    def _line(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\n" not in self._data:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer to {what}")
            self._socket.settimeout(left)
            more = self._socket.recv(_BYTES)
            if not more:
                raise RuntimeError(f"{what}: the machine has ended")
            self._data += more
        line, _, self._data = self._data.partition(b"\n")
        read: dict[str, Any] = json.loads(line)
        return read

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _named(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in arguments.items()}


class Agent:
    """Runs commands in a guest, by the agent there: it needs no network, and no clock of ours."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def wait(self, within: float) -> None:
        """Wait until the agent answers."""
        self._channel.ask("guest-ping", within=within)

    def run(self, command: tuple[str, ...], within: float) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; TimeoutError if that has not come in time."""
        pid = self._channel.ask(
            "guest-exec", path=command[0], arg=list(command[1:]), capture_output=True
        )["pid"]
        deadline = time.monotonic() + within
        pause = _SOONEST
        while not (status := self._channel.ask("guest-exec-status", pid=pid))["exited"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{' '.join(command)}: not ended within {within:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, _LATEST)
        code = status.get("exitcode", -status.get("signal", 0))
        return subprocess.CompletedProcess(
            command, code, _text(status, "out-data"), _text(status, "err-data")
        )


def _text(status: dict[str, Any], name: str) -> str:
    return base64.b64decode(status.get(name, "")).decode(errors="replace")
