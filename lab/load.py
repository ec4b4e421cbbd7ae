"""Many connections that stay open, each asking again and again, and which of them break.

`LiveConnections` holds them from a process of its own in the client's namespace.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import selectors
import socket
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lab.servers import HTTP_PORT, LARGE_BYTES
from lab.worker import Order, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.processes import Process
    from lab.topology import Client

_TICK_SECONDS: Final = 0.005
_CONNECTS_A_TICK: Final = 5  # 1,000 a second: no server's queue of new connections fills up


@dataclass(slots=True)
class Connection:
    """What became of one connection. Times are CLOCK_MONOTONIC's, hosts in order of answering.

    `broken` is "" while it works, else "reset", "closed", "silent" (a request was not answered
    in time) or, if it never stood, "refused" or "unconnected".
    """

    source: str
    port: int = 0
    hosts: list[str] = field(default_factory=list)
    answers: int = 0
    longest: float = 0.0
    longest_at: float = 0.0
    broken: str = ""
    broken_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadReport:
    """All connections, when the load was ended."""

    connections: list[Connection]

    @property
    def broken(self) -> list[Connection]:
        """Those that broke, or never stood."""
        return [one for one in self.connections if one.broken]

    @property
    def by_host(self) -> Counter[str]:
        """How many connections each host answered last."""
        return Counter(one.hosts[-1] for one in self.connections if one.hosts)

    @property
    def moved(self) -> list[Connection]:
        """Connections that more than one host answered; no TCP survives that."""
        return [one for one in self.connections if len(one.hosts) > 1]

    @property
    def longest(self) -> float:
        """The longest that any request took, in seconds."""
        return max((one.longest for one in self.connections), default=0.0)


class LiveConnections:
    """`count` connections from all of the client's addresses, a request on each per `interval`.

    A connection whose request is not answered within `patience` seconds counts as broken. The
    longest wait of its requests is counted from the first time that it was tried.
    """

    def __init__(
        self,
        client: Client,
        vip: str,
        port: int = HTTP_PORT,
        count: int = 1000,
        *,
        interval: float = 1.0,
        patience: float = 10.0,
    ) -> None:
        self._interval = interval
        self._patience = patience
        self._worker = Worker(
            client,
            "lab.load",
            vip=vip,
            port=port,
            count=count,
            interval=interval,
            patience=patience,
            addresses=client.addresses,
        )

    @property
    def pid(self) -> int:
        """The process that holds them."""
        return self._worker.pid

    def wait_ready(self, within: float = 60.0) -> Counter[str]:
        """Wait until each was answered once, or has broken; returns how many each host answers."""
        self._worker.wait_ready(within)
        return Counter(next(line["ready"] for line in self._worker.lines() if "ready" in line))

    def broken(self) -> list[Connection]:
        """Return those that broke so far, while the others go on."""
        return [Connection(**line["broken"]) for line in self._worker.lines() if "broken" in line]

    def stop(self) -> LoadReport:
        """Ask each once more, wait for the answers, and return what became of each."""
        lines = self._worker.stop(within=self._interval + self._patience + 10.0)
        return LoadReport([Connection(**line["end"]) for line in lines if "end" in line])


@contextlib.contextmanager
def live_connections(
    client: Client, vip: str, count: int = 1000, **options: Any
) -> Iterator[LiveConnections]:
    """Hold connections for the body; they are under way when it begins."""
    live = LiveConnections(client, vip, count=count, **options)
    try:
        live.wait_ready()
        yield live
    finally:
        live.stop()


def start_download(
    client: Client, vip: str, rate: str = "64k", length: int = LARGE_BYTES, source: str = ""
) -> Process:
    """Start to get `length` bytes at `rate` a second; it prints `STATUS BYTES` at its end."""
    return client.start(
        *("curl", "--silent", "--show-error", "--output", "/dev/null"),
        *(("--interface", source) if source else ()),
        *("--range", f"0-{length - 1}", "--write-out", "%{http_code} %{size_download}\n"),
        f"http://{vip}/large?rate={rate}",
    )


class _Held:
    """A connection, inside the worker."""

    __slots__ = ("asked_at", "at", "data", "socket")

    def __init__(self, source: str) -> None:
        self.at = Connection(source)
        self.socket = socket.socket()
        self.asked_at = 0.0  # 0: nothing is being waited for
        self.data = b""


class _Load:
    """The worker: one thread, which sends what is due and reads what has come."""

    def __init__(self, order: Order) -> None:
        values = order.values
        self.order = order
        self.target = (values["vip"], values["port"])
        self.patience: float = values["patience"]
        self.interval: float = values["interval"]
        self.selector = selectors.DefaultSelector()
        self.request = f"GET / HTTP/1.1\r\nHost: {values['vip']}\r\n\r\n".encode()
        sources = itertools.cycle(values["addresses"])
        self.all = [_Held(next(sources)) for _ in range(values["count"])]
        self.waiting: deque[tuple[float, _Held]] = deque()

    def run(self) -> None:
        """Connect all; ask each, again and again, once more when told to finish; report."""
        for number, held in enumerate(self.all, 1):
            self._connect(held)
            if number % _CONNECTS_A_TICK == 0:
                self._listen(_TICK_SECONDS)
        while any(not held.at.answers and not held.at.broken for held in self.all):
            self._listen(_TICK_SECONDS)
        self._say_ready()
        while not self.order.finishing:
            self._ask_each()
        self._ask_each(last=True)
        while any(held.asked_at and not held.at.broken for held in self.all):
            self._listen(_TICK_SECONDS)
        self.order.write({"end": asdict(held.at)} for held in self.all)

    def _say_ready(self) -> None:
        ready = Counter(held.at.hosts[-1] for held in self.all if held.at.hosts)
        self.order.write([{"ready": ready}])
        self.order.ready()

    def _ask_each(self, *, last: bool = False) -> None:
        """Ask on each connection that waits for nothing, evenly over the interval.

        The last time it takes half as long; all but that time ends when told to finish.
        """
        due = time.monotonic()
        apart = self.interval / len(self.all) / (2 if last else 1)
        for held in self.all:
            if self.order.finishing and not last:
                return
            while (wait := due - time.monotonic()) > 0:
                self._listen(max(wait, _TICK_SECONDS))
            if not held.asked_at and not held.at.broken:
                self._ask(held)
            due += apart

    def _connect(self, held: _Held) -> None:
        held.socket.setblocking(False)
        held.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        held.socket.bind((held.at.source, 0))
        held.at.port = held.socket.getsockname()[1]
        held.asked_at = time.monotonic()
        self.waiting.append((held.asked_at, held))
        error = held.socket.connect_ex(self.target)
        if error not in (0, errno.EINPROGRESS):
            self._break(held, "unconnected")
            return
        self.selector.register(held.socket, selectors.EVENT_WRITE, held)

    def _ask(self, held: _Held) -> None:
        held.asked_at = time.monotonic()
        self.waiting.append((held.asked_at, held))
        try:
            held.socket.send(self.request)
        except OSError:
            self._break(held, "reset")

    def _listen(self, seconds: float) -> None:
        for key, events in self.selector.select(seconds):
            if events & selectors.EVENT_WRITE:
                self._connected(key.data)
            else:
                self._read(key.data)
        late = time.monotonic() - self.patience
        while self.waiting and self.waiting[0][0] < late:
            asked_at, held = self.waiting.popleft()
            if held.asked_at == asked_at and not held.at.broken:
                self._break(held, "silent" if held.at.answers else "unconnected")

    def _connected(self, held: _Held) -> None:
        if held.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._break(held, "refused")
            return
        self.selector.modify(held.socket, selectors.EVENT_READ, held)
        with contextlib.suppress(OSError):  # what is wrong is told by reading
            held.socket.send(self.request)

    def _read(self, held: _Held) -> None:
        try:
            data = held.socket.recv(4096)
        except OSError:
            self._break(held, "reset")
            return
        if not data:
            self._break(held, "closed")
            return
        held.data += data
        _, blank_line, body = held.data.partition(b"\r\n\r\n")
        if not (blank_line and body.endswith(b"\n")):  # the body is a host's name and a newline
            return
        held.data = b""
        self._answered(held.at, body.decode().strip(), held.asked_at)
        held.asked_at = 0.0

    def _answered(self, at: Connection, host: str, asked_at: float) -> None:
        at.answers += 1
        if at.hosts[-1:] != [host]:
            at.hosts.append(host)
        taken = time.monotonic() - asked_at
        if asked_at and taken > at.longest:
            at.longest, at.longest_at = taken, asked_at

    def _break(self, held: _Held, how: str) -> None:
        held.at.broken, held.at.broken_at = how, time.monotonic()
        with contextlib.suppress(KeyError):
            self.selector.unregister(held.socket)
        held.socket.close()
        self.order.write([{"broken": asdict(held.at)}])


if __name__ == "__main__":
    _Load(Order()).run()
