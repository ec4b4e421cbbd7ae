"""Telling systemd how the daemon is: sd_notify(3), sd_watchdog_enabled(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

_PATIENCE_SECONDS: Final = 0.05
"""How long a manager that is busy is waited for; a lease is longer."""


def notify(*states: str) -> None:
    """Send states such as READY=1; nothing happens where no service manager listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # An abstract address is written with an @ in place of its first byte, 0.
    address = "\0" + path[1:] if path.startswith("@") else path
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one,
    ):
        one.settimeout(_PATIENCE_SECONDS)
        one.sendto("\n".join(states).encode(), address)


def watchdog() -> float | None:
    """Return within how many seconds the manager must hear WATCHDOG=1; None if it need not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    process = os.environ.get("WATCHDOG_PID", "")
    if not (microseconds.isascii() and microseconds.isdecimal() and int(microseconds)):
        return None
    if process and process != str(os.getpid()):
        # It watches another process, which handed its environment on.
        return None
    return int(microseconds) / 1e6


class Watchdog:
    """The manager's watchdog: whoever works says so, and often enough is left to `feed`."""

    def __init__(self) -> None:
        self.every = (watchdog() or 0.0) / 4
        """Seconds from one word to the next, 0 where nobody wants any."""
        self._next = 0.0

    def feed(self, *, now: float) -> None:
        """Say that all is well, if it is time to; `now` is any clock, seconds."""
        if self.every and now >= self._next:
            self._next = now + self.every
            notify("WATCHDOG=1")
