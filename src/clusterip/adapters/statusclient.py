"""Reading the status socket of a daemon: what is to be seen of it, and its journal."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Final, Self

from clusterip.adapters import statuspath
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Bye, Hello, Now
from clusterip.core.messages.following import RESTART
from clusterip.core.status import Status

PATIENCE_SECONDS: Final = 10.0
"""How long an answer may take."""
RESTART_SECONDS: Final = 60.0
"""How long a successor may take to be there."""
AGAIN_SECONDS: Final = 0.1
_SOON_SECONDS: Final = 0.02
_READ: Final = 1 << 16


class StatusClient:
    """A connection to the status socket of a cluster's daemon.

    What cannot be is raised as a ClusterIPError: SystemFaultError where no daemon runs, it ends or
    does not answer within `patience` seconds; RefusedError where this user may not ask.
    """

    def __init__(self, cluster: str, *, patience: float = PATIENCE_SECONDS) -> None:
        self.cluster = cluster
        self._patience = patience
        self._buffer = bytearray()
        self._socket = _connected(cluster, patience)
        try:
            hello = self.line()
        except BaseException:
            self.close()
            raise
        if not isinstance(hello, Hello):
            self.close()
            raise does_not_know(cluster)
        self.hello = hello
        """What the daemon said of itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor of the connection, to wait for lines."""
        return self._socket.fileno()

    def status(self) -> Status:
        """Return what is to be seen of the daemon, as it was at most a second ago."""
        self._ask(feed.Look())
        while True:
            said = self._expected()
            if isinstance(said, feed.Seen):
                return said.status

    def events(
        self, *, after: int = 0, journal: str = "", last: int | None = None, follow: bool = False
    ) -> Iterator[Entry | Now | Bye]:
        """Yield what happened after the event of that number in that journal; see `feed.Listen`.

        Then a `Now`; with `follow` each event as it happens, without end but for a `Bye`.
        """
        self._ask(feed.Listen(after=after, journal=journal, last=last, follow=follow))
        while True:
            said = self._expected()
            if isinstance(said, feed.Entry):
                yield said.entry
            elif isinstance(said, Now):
                yield said
                if not follow:
                    return
                self._socket.settimeout(None)
            elif isinstance(said, Bye):
                yield said
                return

    def line(self) -> feed.Said | feed.Unknown:
        """Return the next line, whatever it is; what the daemon says went wrong is raised."""
        try:
            while (end := self._buffer.find(b"\n")) < 0:
                more = self._socket.recv(_READ)
                if not more or len(self._buffer) > feed.LONGEST:
                    raise ended(self.cluster)
                self._buffer += more
        except TimeoutError as error:
            raise does_not_answer(self.cluster) from error
        except OSError as error:
            raise ended(self.cluster) from error
        raw = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return said_in(self.cluster, raw)

    def _expected(self) -> feed.Said | feed.Unknown:
        return self.line()

    def _ask(self, request: feed.Request) -> None:
        self._socket.settimeout(self._patience)
        try:
            self._socket.sendall(feed.encode(request))
        except OSError as error:
            raise ended(self.cluster) from error


def said_in(cluster: str, line: bytes) -> feed.Said | feed.Unknown:
    """Return what a daemon says in a line; what it says went wrong is raised."""
    try:
        said = feed.read(line)
    except ValueError as error:
        raise does_not_know(cluster, f": {error}") from error
    if isinstance(said, feed.Busy | feed.Not):
        raise SystemFaultError(said.message, said.cure)
    return said


def ended(cluster: str) -> SystemFaultError:
    """Return what is to be said where a connection ended."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} ended", "see why in its log: journalctl -u clusterip"
    )


def does_not_answer(cluster: str) -> SystemFaultError:
    """Return what is to be said where nothing comes in time."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} does not answer",
        "it may be starved: see its log, and try again",
    )


def does_not_know(cluster: str, why: str = "") -> SystemFaultError:
    """Return what is to be said where what comes is not understood."""
    return SystemFaultError(
        f"the daemon of cluster {cluster} answers what this program does not know{why}",
        "have it run the program that is installed now: clusterip restart",
    )


def refusal(cluster: str, error: OSError) -> ClusterIPError:
    """Return what is to be said where there is no connection, for that reason."""
    if isinstance(error, PermissionError):
        return RefusedError(
            f"the status of cluster {cluster} is not for this user",
            "ask as root, or as a member of the group that `status_group` in the file names",
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return SystemFaultError(
            f"no daemon of cluster {cluster} tells its status in this network namespace",
            "start it: systemctl start clusterip, or `clusterip run`; one that is older than 0.2"
            " tells it to root only, by `clusterip show`",
        )
    return SystemFaultError(
        f"the daemon of cluster {cluster} does not answer", "too many may ask: try again"
    )


def follow(
    cluster: str, *, after: int = 0, journal: str = "", last: int | None = None
) -> Iterator[Entry | Now | Bye]:
    """Yield what happens to the daemons of a cluster here, over planned restarts, until one ends.

    No event comes twice, and none is left out but for gaps in the numbers. A `Bye` comes where a
    daemon ends; after one that is not of a restart nothing comes. Raises what `StatusClient` does.
    """
    client = StatusClient(cluster)
    while True:
        why = ""
        with client:
            if client.hello.journal != journal and journal:
                after = 0
            journal = client.hello.journal
            for one in client.events(after=after, journal=journal, last=last, follow=True):
                if isinstance(one, Entry):
                    after = one.seq
                elif isinstance(one, Bye):
                    why = one.why
                else:
                    last = None
                yield one
        if why != RESTART:
            return
        client = successor(cluster)


def successor(cluster: str) -> StatusClient:
    """Connect to the daemon that follows, when it is there."""
    gives_up = time.monotonic() + RESTART_SECONDS
    while True:
        try:
            return StatusClient(cluster)
        except SystemFaultError:
            if time.monotonic() >= gives_up:
                raise
        time.sleep(AGAIN_SECONDS)


def _connected(cluster: str, patience: float) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.settimeout(patience)
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(one.close)
            _connect(one, str(statuspath.path_of(cluster)), time.monotonic() + patience)
            stack.pop_all()
    except OSError as error:
        raise refusal(cluster, error) from error
    return one


def _connect(one: socket.socket, path: str, gives_up: float) -> None:
    """Connect; where too many wait already the kernel says so at once, and it is tried again."""
    while True:
        try:
            one.connect(path)
        except BlockingIOError:
            if time.monotonic() >= gives_up:
                raise
            time.sleep(_SOON_SECONDS)
        else:
            return
