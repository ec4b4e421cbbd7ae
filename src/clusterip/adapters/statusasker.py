"""A client of the status socket, as the program that serves it knows it."""

from __future__ import annotations

import select
import socket
from collections import deque

from clusterip.core.messages.feed import Listen


class Client:
    """Who asks."""

    __slots__ = (
        *("asked", "asks", "ended", "listens", "read"),
        *("seen", "since", "sock", "uid", "wants", "watched"),
    )

    def __init__(self, sock: socket.socket, uid: int, now: float) -> None:
        self.sock, self.uid, self.since = sock, uid, now
        self.read = bytearray()
        self.asks: deque[memoryview] = deque()
        """What is to be sent."""
        self.listens: int | None = None
        """After which event the next is to be said, None where none is."""
        self.asked: Listen | None = None
        self.wants = 0.0
        """Since when it waits for a status, 0 if it does not."""
        self.seen = 0
        """When the status was made that it saw last."""
        self.ended = False
        """Whether it asks nothing more; it may read still."""
        self.watched = 0
        """For what its socket is looked at."""

    @property
    def is_done(self) -> bool:
        """Whether it asks nothing more, and was answered."""
        waits = self.asks or self.wants or self.listens is not None or b"\n" in self.read
        return self.ended and not waits

    def is_gone(self) -> bool:
        """Tell whether it reads nothing more either."""
        one = select.poll()
        one.register(self.sock, 0)
        return bool(one.poll(0))
