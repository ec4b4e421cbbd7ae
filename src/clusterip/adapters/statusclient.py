"""Reading the status socket of a daemon: what is to be seen of it, and its journal."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final, Self

from clusterip.adapters import statuspeer
from clusterip.adapters.statuspeer import (
    AGAIN_SECONDS,
    PATIENCE_SECONDS,
    SOON_SECONDS,
    LostError,
    Process,
)
from clusterip.core.errors import SystemFaultError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello
from clusterip.core.messages.following import Following
from clusterip.core.status import Status

_READ: Final = 1 << 16


class StatusClient:
    """A connection to the status socket of a cluster's daemon.

    What cannot be is raised as a ClusterIPError: SystemFaultError where no daemon runs, it ends or
    does not answer within `patience` seconds; RefusedError where this user may not ask. As long,
    unless it never `waits`, it is tried again in a planned restart, and where too many ask.
    """

    def __init__(
        self, cluster: str, *, patience: float = PATIENCE_SECONDS, waits: bool = True
    ) -> None:
        self.cluster = cluster
        self._patience = patience
        self._buffer = bytearray()
        self.hello = self._greeted(time.monotonic() + patience * waits)
        """What the daemon said of itself."""

    def _greeted(self, gives_up: float) -> Hello:
        while True:
            try:
                self._socket = _connected(self.cluster, self._patience)
                with contextlib.ExitStack() as stack:
                    stack.callback(self.close)
                    hello = statuspeer.greeted(self.cluster, self.line())
                    stack.pop_all()
            except SystemFaultError as error:
                if not statuspeer.passes(self.cluster, error, gives_up):
                    raise
                self._buffer.clear()
                time.sleep(SOON_SECONDS)
            else:
                return hello

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def wake(self) -> None:
        """End the connection for whoever waits for a line of it, in another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def process(self) -> Process:
        """Return the process on the other side, to be closed."""
        return Process(self._socket)

    def status(self) -> Status:
        """Return what is to be seen of the daemon, as it was at most a second ago."""
        self.ask(feed.Look())
        while True:
            said = self.line()
            if isinstance(said, feed.Seen):
                return said.status

    def line(self, *, patient: bool = False) -> feed.Said | feed.Unknown:
        """Return the next line, whatever it is; what the daemon says went wrong is raised.

        `patient` is for a line that may take any time.
        """
        try:
            self._socket.settimeout(None if patient else self._patience)
            while (end := self._buffer.find(b"\n")) < 0:
                more = self._socket.recv(_READ)
                if not more or len(self._buffer) > feed.LONGEST:
                    raise statuspeer.lost(self.cluster)
                self._buffer += more
        except TimeoutError as error:
            raise statuspeer.does_not_answer(self.cluster) from error
        except OSError as error:
            raise statuspeer.lost(self.cluster) from error
        raw = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return statuspeer.said_in(self.cluster, raw)

    def ask(self, request: feed.Request) -> None:
        """Say a line."""
        try:
            self._socket.settimeout(self._patience)
            self._socket.sendall(feed.encode(request))
        except OSError as error:
            raise statuspeer.lost(self.cluster) from error


def status(cluster: str, *, patience: float = PATIENCE_SECONDS) -> Status:
    """Return what `StatusClient.status` does, also where the daemon is replaced meanwhile."""
    gives_up = time.monotonic() + patience
    while True:
        try:
            with StatusClient(cluster, patience=patience) as one:
                return one.status()
        except SystemFaultError as error:
            if not statuspeer.passes(cluster, error, gives_up):
                raise
            time.sleep(SOON_SECONDS)


class Follower(Iterator[Entry]):
    """What `following` wants of a journal, event by event.

    It goes on over planned restarts, and with the next program of the same daemon. It ends when
    the daemon was told to stop; SystemFaultError where it ended otherwise. It may be closed while
    another thread waits for the next one, which gets none then.
    """

    def __init__(self, cluster: str, following: Following) -> None:
        self._cluster = cluster
        self._following = following
        self._there: tuple[StatusClient, Process] | None = None
        self._first: list[feed.Said | feed.Unknown] = []
        """The line that came when it was begun with, which is to be read still."""
        self._over = threading.Event()
        self._reading = threading.Lock()

    def __del__(self) -> None:
        # Who leaves a loop need not close it.
        self._drop()

    def begin(self) -> None:
        """Connect, if that was not done: what happens from now on will be told."""
        with self._held():
            gives_up = time.monotonic() + PATIENCE_SECONDS
            while self._there is None and not self._over.is_set():
                try:
                    self._subscribe(StatusClient(self._cluster))
                except SystemFaultError as error:
                    if not statuspeer.passes(self._cluster, error, gives_up):
                        raise
                    self._over.wait(SOON_SECONDS)

    def __next__(self) -> Entry:
        self.begin()
        with self._held():
            try:
                while self._there is not None and not self._over.is_set():
                    if entry := self._step(*self._there):
                        return entry
            except SystemFaultError:
                if not self._over.is_set():
                    self._over.set()
                    raise
        raise StopIteration

    def close(self) -> None:
        """End the connection."""
        self._over.set()
        there = self._there
        if there is not None:
            there[0].wake()
        self._tidy()

    def _step(self, client: StatusClient, process: Process) -> Entry | None:
        """Take in the next line; return the event that it tells, if any."""
        try:
            said = (
                self._first.pop() if self._first else client.line(patient=self._following.patient)
            )
        except LostError:
            self._following.lost()
        else:
            if entry := self._following.take(said):
                return entry
        if self._following.failed:
            raise statuspeer.failed(self._cluster)
        if self._following.goes_on:
            self._go_on(process)
        elif self._following.over:
            self._over.set()
        return None

    def _subscribe(self, client: StatusClient) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            client.ask(self._following.listen(client.hello))
            # When it is here the daemon knows from where on all is wanted.
            self._first = [client.line()]
            process = client.process()
            stack.pop_all()
        self._drop()
        self._there = client, process

    def _go_on(self, process: Process) -> None:
        """Connect to the next one, when it is there."""
        gives_up = time.monotonic() + statuspeer.NEXT_SECONDS
        while not self._over.is_set():
            # A successor is the same process.
            if process.has_ended():
                raise statuspeer.ended(self._cluster)
            try:
                self._subscribe(StatusClient(self._cluster, waits=False))
            except SystemFaultError:
                if time.monotonic() >= gives_up:
                    raise
                self._over.wait(AGAIN_SECONDS)
            else:
                return

    # ---- closing, which may be done meanwhile ----

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        try:
            with self._reading:
                yield
        finally:
            if self._over.is_set():
                self._tidy()

    def _tidy(self) -> None:
        """Close what is open, unless somebody reads it, who does so afterwards."""
        if self._reading.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._reading.release()

    def _drop(self) -> None:
        for one in self._there or ():
            one.close()


def _connected(cluster: str, patience: float) -> socket.socket:
    gives_up = time.monotonic() + patience
    while (one := statuspeer.try_connect(cluster)) is None:
        if time.monotonic() >= gives_up:
            raise statuspeer.does_not_answer(cluster)
        time.sleep(SOON_SECONDS)
    return one
