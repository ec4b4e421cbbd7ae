"""The processes behind lab/gaps.py: send what is due, note when each answer came."""

from __future__ import annotations

import contextlib
import errno
import itertools
import selectors
import socket
import struct
import time
from collections import deque
from dataclasses import asdict
from typing import Any, Final

from lab.gaps import Hashing, Stream, flows_by_bucket
from lab.topology import CLIENT_PORTS
from lab.worker import Order

_LINGER_RESET: Final = struct.pack("ii", 1, 0)
_LAST_SECONDS: Final = 0.3
_TICK_SECONDS: Final = 0.001  # waking up for each of thousands a second would cost a core
_LENGTHS: Final = 1024
"""A datagram is 1 to this many bytes long: its number modulo this, and 1. Its answer names that."""


class _Datagrams:
    """One socket for each bucket; an answer is a host's name and the length of what it answers."""

    def __init__(self, order: Order) -> None:
        values = order.values
        self.order = order
        self.period: float = values["period"]
        self.selector = selectors.DefaultSelector()
        self.streams: list[tuple[socket.socket, Stream]] = []
        for bucket, source, port, *other in values["flows"]:
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            one = socket.socket(family, socket.SOCK_DGRAM)
            one.setblocking(False)
            one.bind((source, port))
            one.connect((*(other or [values["vip"]]), values["port"]))
            stream = Stream(bucket, source, port, 0, 0.0, 0.0, [], [], [])
            self.selector.register(one, selectors.EVENT_READ, stream)
            self.streams.append((one, stream))
        self.sent = 0

    def run(self) -> None:
        """Send until told to finish, then listen until it has been quiet."""
        self.order.ready()
        began = due = time.monotonic()
        count = len(self.streams)
        for one, _ in itertools.cycle(self.streams):
            while (wait := due - time.monotonic()) > 0:
                self._listen(max(wait, _TICK_SECONDS))
            if self.order.finishing:
                break
            with contextlib.suppress(OSError):  # an ICMP error, or no route: not answered
                one.send(bytes(1 + self.sent // count % _LENGTHS))
            self.sent += 1
            due += self.period
        ended = time.monotonic()
        while self._listen(_LAST_SECONDS):
            pass
        self.order.write(
            asdict(stream)
            | {
                "began": began + number * self.period,
                "ended": ended,
                "sent": (self.sent - number + count - 1) // count,
            }
            for number, (_, stream) in enumerate(self.streams)
        )

    def _listen(self, seconds: float) -> bool:
        ready = self.selector.select(seconds)
        now = time.monotonic()
        latest = self.sent // len(self.streams)
        for key, _ in ready:
            one: Any = key.fileobj
            stream: Stream = key.data
            with contextlib.suppress(OSError):
                while True:
                    host, length = one.recv(2048).split()
                    stream.hosts.append(host.decode())
                    stream.numbers.append(latest - (latest + 1 - int(length)) % _LENGTHS)
                    stream.times.append(now)
        return bool(ready)


class _Connections:
    """New connections, bucket after bucket."""

    def __init__(self, order: Order) -> None:
        values = order.values
        self.order = order
        self.period: float = values["period"]
        self.patience: float = values["patience"]
        self.target = (values["vip"], values["port"])
        self.hashing = Hashing(*values["hashing"])
        ports = itertools.cycle(reversed(CLIENT_PORTS))  # the caller's own begin at the other end
        self.flows = flows_by_bucket(values["addresses"], ports, self.hashing, values["port"])
        self.selector = selectors.DefaultSelector()
        self.waiting: deque[tuple[float, int, socket.socket]] = deque()
        self.open: set[socket.socket] = set()
        self.attempts: list[tuple[int, float, float, str]] = []

    def run(self) -> None:
        """Connect until told to finish, then wait for those that are under way."""
        self.order.ready()
        due = time.monotonic()
        buckets = itertools.cycle(range(1, self.hashing.total + 1))
        while not self.order.finishing:
            while (wait := due - time.monotonic()) > 0:
                self._listen(max(wait, _TICK_SECONDS))
            self._connect(next(buckets))
            due += self.period
        while self.open:
            self._listen(_LAST_SECONDS)
        self.order.write(self.attempts)

    def _connect(self, bucket: int) -> None:
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        began = time.monotonic()
        try:
            one.bind(next(self.flows))
        except OSError:  # a program's own port: the next one will do
            one.close()
            return
        error = one.connect_ex(self.target)
        if error not in (0, errno.EINPROGRESS):
            self.attempts.append((bucket, began, 0.0, errno.errorcode[error]))
            one.close()
            return
        self.selector.register(one, selectors.EVENT_WRITE, (bucket, began))
        self.open.add(one)
        self.waiting.append((began, bucket, one))

    def _listen(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            one: Any = key.fileobj
            bucket, began = key.data
            error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._end(one, bucket, began, errno.errorcode[error] if error else "")
        late = time.monotonic() - self.patience
        while self.waiting and self.waiting[0][0] < late:
            began, bucket, one = self.waiting.popleft()
            if one in self.open:
                self._end(one, bucket, began, "ETIMEDOUT")

    def _end(self, one: socket.socket, bucket: int, began: float, failure: str) -> None:
        self.attempts.append((bucket, began, time.monotonic() - began, failure))
        self.selector.unregister(one)
        self.open.discard(one)
        one.close()


if __name__ == "__main__":
    order = Order()
    if order.values["kind"] == "udp":
        _Datagrams(order).run()
    else:
        _Connections(order).run()
