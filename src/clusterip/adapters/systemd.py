"""Telling systemd how the daemon is: sd_notify(3), without its library."""

from __future__ import annotations

import contextlib
import os
import socket


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
        one.sendto("\n".join(states).encode(), address)
