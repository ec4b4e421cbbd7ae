"""Serving the status socket of a daemon: the clients, and what bounds all of it.

The daemon tells by a pipe what happens, and is asked by it for a snapshot, at most once in
`SNAPSHOT_SECONDS`, and only while somebody wants to see one. The pipe has lines both ways. From the
daemon: `h`, the line that greets; `e`, the number of an event, a blank, its entry; `s`, when a
snapshot was made (CLOCK_BOOTTIME, ns), a blank, the status; `n`, the line that is said in place of
a status; `p`, is this program alive; `b`, why the daemon ends. To it: `w`, a snapshot is wanted;
`p`, it is. Where the pipe ends the daemon is gone, and so is this.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import time
from collections import deque
from typing import Final

from clusterip.adapters.statusasker import Client
from clusterip.core.journal import ROOM
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Busy, Bye, Listen, Look, Not, Now

SNAPSHOT_SECONDS: Final = 0.25
MOST: Final = 64
"""How many clients are served at a time."""
_FOR_ROOT: Final = 8
"""How many of them are root's alone."""
_IDLE_SECONDS: Final = 10.0
"""How long a client that listens to nothing may ask nothing."""
_STUCK_SECONDS: Final = 30.0
"""How long a client may read nothing of what is for it."""
_SNAPSHOT_PATIENCE_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 0.5
"""How long clients may take to read the last line."""
_LOOK_SECONDS: Final = 0.5
_READ: Final = 1 << 16
_PORTION: Final = 50
"""How many entries are put before a client at a time."""
_CREDENTIALS: Final = struct.Struct("3i")
_BUSY: Final = Busy(
    message=f"{MOST} are served already", cure="try again, or end some that follow events"
)
_LATE: Final = Not(
    message="the daemon does not answer in time", cure="it may be starved: see its log, try again"
)
_ASK: Final = "ask with `clusterip events` or clusterip.api"


class Server:
    """Serves a socket; `pipe` leads to the daemon."""

    def __init__(self, listener: socket.socket, pipe: socket.socket) -> None:
        self._listener, self._pipe = listener, pipe
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, Client] = {}
        self._hello = b""
        self._entries: deque[tuple[int, bytes]] = deque(maxlen=ROOM)
        self._journal = ""
        self._status, self._made = b"", 0
        self._instead = b""
        self._wanted = 0.0
        """When a snapshot was asked for last, 0 if it came."""
        self._from_daemon = bytearray()
        self._ended = False

    def run(self) -> None:
        """Serve until the daemon is gone."""
        for one in (self._listener, self._pipe):
            one.setblocking(False)
        self._selector.register(self._pipe, selectors.EVENT_READ)
        while not self._ended:
            for key, events in self._selector.select(self._patience()):
                if key.fileobj is self._pipe:
                    self._hear()
                elif key.fileobj is self._listener:
                    self._accept()
                elif (client := self._clients.get(key.fd)) is not None:
                    self._attend(client, events)
            self._look()

    def _patience(self) -> float | None:
        """Return for how long nothing need be looked at, s; None for ever."""
        if not self._clients:
            return None
        waits = not self._wanted and any(one.wants for one in self._clients.values())
        return min(_LOOK_SECONDS, self._to_wait()) if waits else _LOOK_SECONDS

    def _to_wait(self) -> float:
        """Return when a snapshot may be asked for, in seconds: not before one is made."""
        return max(0.0, SNAPSHOT_SECONDS - (_boottime() - self._made) / 1e9)

    # ---- the daemon ----

    def _hear(self) -> None:
        try:
            more = self._pipe.recv(_READ << 4)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self._ended = True
            return
        self._from_daemon += more
        *lines, rest = bytes(self._from_daemon).split(b"\n")
        self._from_daemon = bytearray(rest)
        for line in lines:
            self._heard(line[:1], line[1:])

    def _heard(self, kind: bytes, line: bytes) -> None:
        if kind == b"h":
            self._hello = line + b"\n"
            said = feed.read(self._hello)
            self._journal = said.journal if isinstance(said, feed.Hello) else ""
            # Not before there is something to greet with.
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif kind == b"e":
            number, _, entry = line.partition(b" ")
            self._entries.append((int(number), feed.entry_line(entry)))
            for client in list(self._clients.values()):
                self._go_on(client)
        elif kind == b"s":
            made, _, self._status = line.partition(b" ")
            self._made, self._wanted, self._instead = int(made), 0.0, b""
            self._answer_all()
        elif kind == b"n":
            self._made, self._wanted, self._instead = _boottime(), 0.0, line + b"\n"
            self._answer_all()
        elif kind == b"p":
            with contextlib.suppress(OSError):
                self._pipe.send(b"p\n")
        elif kind == b"b":
            self._say_bye(line.decode())

    def _want(self, now: float) -> None:
        # Not before the daemon makes one: it is woken once for each.
        if not self._wanted and not self._to_wait():
            self._wanted = now
            with contextlib.suppress(OSError):
                self._pipe.send(b"w\n")

    # ---- clients ----

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        uid = _CREDENTIALS.unpack(raw)[1]
        if len(self._clients) >= MOST - (_FOR_ROOT if uid else 0):
            with contextlib.suppress(OSError):
                sock.send(feed.encode(_BUSY))
            sock.close()
            return
        client = Client(sock, uid, time.monotonic())
        self._clients[sock.fileno()] = client
        self._watch(client)
        self._send(client, self._hello)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.sock.fileno(), None) is not None:
            if client.watched:
                self._selector.unregister(client.sock)
            client.sock.close()

    def _watch(self, client: Client) -> bool:
        """Look at a client for what it is to do next; say whether that is another thing."""
        wanted = selectors.EVENT_WRITE if client.asks else selectors.EVENT_READ
        if client.ended and not client.asks:
            wanted = 0  # that it ended would be told again and again
        before, client.watched = client.watched, wanted
        if wanted == before:
            return False
        if not before:
            self._selector.register(client.sock, wanted)
        elif wanted:
            self._selector.modify(client.sock, wanted)
        else:
            self._selector.unregister(client.sock)
        return True

    def _attend(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(client)
        elif events & selectors.EVENT_READ:
            self._receive(client)

    def _receive(self, client: Client) -> None:
        try:
            more = client.sock.recv(feed.LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            client.ended = True
            if client.is_done or client.is_gone():
                self._drop(client)
            else:
                self._watch(client)
            return
        client.read += more
        self._take(client)

    def _take(self, client: Client) -> None:
        """Take the next request, if it is there and the one before is answered."""
        if client.asks or client.wants or client.listens is not None:
            if len(client.read) > feed.LONGEST_REQUEST:
                self._drop(client)
            return
        end = client.read.find(b"\n")
        if end < 0:
            if len(client.read) > feed.LONGEST_REQUEST:
                self._refuse(client, f"a request has at most {feed.LONGEST_REQUEST} bytes")
            return
        line = bytes(client.read[:end])
        del client.read[: end + 1]
        try:
            request = feed.read_request(line)
        except ValueError as error:
            self._refuse(client, f"this is no request: {error}")
            return
        now = client.since = time.monotonic()
        if isinstance(request, Look):
            client.wants = now
            self._answer(client)
        else:
            self._listen(client, request)

    def _refuse(self, client: Client, why: str) -> None:
        said = feed.encode(Not(message=why, cure=_ASK))
        if client.sock.fileno() in self._clients:
            with contextlib.suppress(OSError):
                client.sock.send(said)
            self._drop(client)

    # ---- a status ----

    def _answer_all(self) -> None:
        for client in list(self._clients.values()):
            if client.wants:
                self._answer(client)

    def _answer(self, client: Client, *, late: bool = False) -> None:
        """Answer by the snapshot there is, if it is new, or there will be none."""
        age = (_boottime() - self._made) / 1e9
        there = bool(self._status or self._instead)
        fresh = there and age < SNAPSHOT_SECONDS and self._made != client.seen
        if fresh or late:
            client.wants, client.seen = 0.0, self._made
            said = self._instead or feed.seen_line(self._status, max(age, 0.0))
            self._send(client, said if there else feed.encode(_LATE))
            self._take(client)
        else:
            self._want(time.monotonic())

    # ---- events ----

    def _listen(self, client: Client, request: Listen) -> None:
        after = request.after
        if request.journal and request.journal != self._journal:
            after = 0
        if request.last is not None:
            kept = max(0, min(request.last, len(self._entries)))
            first = self._entries[-kept][0] if kept else self._newest() + 1
            after = max(after, first - 1)
        client.listens, client.asked = after, request
        self._go_on(client)

    def _newest(self) -> int:
        return self._entries[-1][0] if self._entries else 0

    def _go_on(self, client: Client) -> None:
        """Put the next entries before a client that has read all of the last."""
        while client.listens is not None and not client.asks:
            after = client.listens
            if self._newest() <= after:
                if client.asked is not None:
                    follow, client.asked = client.asked.follow, None
                    client.listens = after if follow else None
                    now = Now(seq=self._newest(), journal=self._journal)
                    self._send(client, feed.encode(now))
                    self._take(client)
                return
            some = self._some(after)
            client.listens = some[-1][0]
            self._send(client, b"".join(line for _, line in some))
            if client.sock.fileno() not in self._clients:
                return

    def _some(self, after: int) -> list[tuple[int, bytes]]:
        """Return the next entries; there is one at least."""
        if len(self._entries) > 1 and self._entries[-2][0] <= after:
            return [self._entries[-1]]  # as it is for who is up to date
        there = [one for one in self._entries if one[0] > after]
        return there[:_PORTION]

    # ---- sending ----

    def _send(self, client: Client, raw: bytes) -> None:
        if not raw or client.sock.fileno() not in self._clients:
            return
        if not client.asks:
            client.since = time.monotonic()
        client.asks.append(memoryview(raw))
        self._flush(client)

    def _flush(self, client: Client) -> None:
        """Send what can be sent; what follows when all is sent is done."""
        try:
            while client.asks:
                sent = client.sock.send(client.asks[0])
                client.since = time.monotonic()
                if sent < len(client.asks[0]):
                    client.asks[0] = client.asks[0][sent:]
                else:
                    client.asks.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if self._watch(client) and not client.asks:
            self._go_on(client)
            self._take(client)
        if client.is_done:
            self._drop(client)

    # ---- now and then ----

    def _look(self) -> None:
        now = time.monotonic()
        for client in list(self._clients.values()):
            waits = client.listens is not None or client.wants
            if client.ended and client.is_gone():
                gone = True
            elif client.asks:
                gone = now > client.since + _STUCK_SECONDS
            else:
                gone = not waits and now > client.since + _IDLE_SECONDS
            if gone:
                self._drop(client)
            elif client.wants and now > client.wants + _SNAPSHOT_PATIENCE_SECONDS:
                self._answer(client, late=True)
            elif client.wants and not self._wanted:
                self._answer(client)

    def _say_bye(self, why: str) -> None:
        """Say the last line to all, and give them a moment to read it."""
        self._selector.unregister(self._listener)
        self._listener.close()
        bye, ends = memoryview(feed.encode(Bye(why=why))), time.monotonic() + _LAST_SECONDS
        for client in list(self._clients.values()):
            self._go_on(client)
            client.listens = client.asked = None
            client.asks.append(bye)
        while time.monotonic() < ends:
            for client in list(self._clients.values()):
                self._flush(client)
                if not client.asks:
                    self._drop(client)
            if not self._clients:
                break
            time.sleep(_LAST_SECONDS / 50)
        self._ended = True


def _boottime() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
