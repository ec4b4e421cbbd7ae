"""Telling the program that serves the status socket what happens, and what is to be seen.

None of it waits: what the program does not take at once waits for it, and one that takes nothing is
made anew. A snapshot is made where it is asked for one, at most once in `SNAPSHOT_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

import clusterip
from clusterip.adapters.clock import boottime
from clusterip.adapters.statusserver import SNAPSHOT_SECONDS
from clusterip.adapters.statussocket import StatusSocket, group_id
from clusterip.adapters.telling import note
from clusterip.core import journal
from clusterip.core.config import Config
from clusterip.core.events import Level
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello, Not
from clusterip.core.status import Status
from clusterip.runtime.journaling import Journaling

_LOOK_SECONDS: Final = 1.0
Snapshot = Callable[[], Status | Not]
"""Returns the status, or why there is none."""


def of_group(config: Config, found: int | None) -> tuple[Finding, ...]:
    """Return what is wrong with the group that the file names, whose id is `found`."""
    name = config.status_group
    if name is None or found is not None:
        return ()
    return (
        Finding.of(
            Code.GROUP_MISSING,
            f'status_group = "{name}": there is no such group on this host',
            "only root may look at the status",
            cure=f"groupadd --system {name}; or name another one, and reload",
        ),
    )


class Feeding:
    """The status socket of node `node`, as `config` has it, as long as `keep` runs.

    `snapshot` is called in the event loop.
    """

    def __init__(
        self, config: Config, node: str, journaling: Journaling, snapshot: Snapshot
    ) -> None:
        self.config = config
        """Whose members may read it is changed in place."""
        self.wrong: tuple[Finding, ...] = ()
        """What is wrong with the group."""
        self._cluster, self._node = config.name, node
        self._journaling, self._snapshot = journaling, snapshot
        self._socket: StatusSocket | None = None
        self._coming: deque[bytes] = deque()
        """Lines of events that were said since the last were sent."""
        self._due = False
        """Whether they will be sent soon."""
        self._made_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._writing = False
        self._said = ""
        self._former: list[StatusSocket] = []
        """Those that were given up, and are not over yet."""
        self._loop = asyncio.get_running_loop()
        self._group: int | None = None
        self._let_in: int | None = None

    async def keep(self) -> None:
        """Have it served, for ever, whoever removes it or ends the program."""
        while True:
            # The groups of a host may be on another one, which takes its time.
            config = self.config
            with contextlib.suppress(OSError, RuntimeError):  # the latter: no thread to be had
                self._group = await asyncio.to_thread(group_id, config.status_group)
            self.wrong = of_group(config, self._group)
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Make it, or make it anew where it is not there any more; let its group in."""
        self._journaling.look()
        self._former = [one for one in self._former if not one.is_over()]
        group = self._group
        try:
            if self._socket is not None and not self._socket.is_there():
                self._again()
            if self._socket is None:
                self._begin(group)
            elif group != self._let_in:
                self._socket.let_in(group)
                self._let_in = group
            self._said = ""
        except OSError as error:
            if self._said != str(error):
                note(f"the status socket cannot be made: {error}", Level.WARNING)
            self._said = str(error)

    def _begin(self, group: int | None) -> None:
        try:
            self._socket = StatusSocket(self._cluster, group)
        except PermissionError:
            if group is None:
                raise
            # To give it to a group takes CAP_CHOWN, which a unit may keep back.
            self._socket = StatusSocket(self._cluster, None)
        self._let_in = group
        self._loop.add_reader(self._socket, self._asked)
        self._say(b"h" + self._hello())
        for entry in self._journaling.listen(self._note):
            self._say(_line(entry))

    def _hello(self) -> bytes:
        return feed.encode(
            Hello(
                release=str(clusterip.__version__),
                cluster=self._cluster,
                node=self._node,
                pid=os.getpid(),
                journal=self._journaling.journal.name,
            )
        )

    def end(self, why: str, *, wait: bool = True) -> None:
        """Have it served no longer; `why` is told as a `Bye` says.

        Without `wait` the program is left to the successor in this process.
        """
        last = b"".join(self._coming) + f"b{why}\n".encode()
        one = self._taken()
        if one is not None:
            one.end(last, wait=wait)

    def _taken(self) -> StatusSocket | None:
        """Return the socket, if there is one, and have none from now on."""
        self._journaling.listen(None)
        self._coming.clear()
        if self._later is not None:
            self._later.cancel()
        one, self._socket, self._later = self._socket, None, None
        if one is not None:
            self._loop.remove_reader(one)
            self._loop.remove_writer(one)
        self._writing = False
        return one

    # ---- events ----

    def _note(self, entry: Entry) -> None:
        """Send an entry soon: this may be another thread than that of the self._loop."""
        self._coming.append(_line(entry))
        if not self._due:
            self._due = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._send_events)

    def _send_events(self) -> None:
        self._due = False
        lines = bytearray()
        while self._coming:
            lines += self._coming.popleft()
        self._say(bytes(lines))

    # ---- snapshots ----

    def _asked(self) -> None:
        if self._socket is None:
            return
        try:
            wanted = self._socket.wanted()
        except OSError:
            self._again()
            return
        if wanted and self._later is None:
            wait = max(0.0, self._made_at + SNAPSHOT_SECONDS - self._loop.time())
            self._later = self._loop.call_later(wait, self._see)

    def _see(self) -> None:
        self._later = None
        self._made_at = self._loop.time()
        made = boottime()
        seen = self._snapshot()
        if isinstance(seen, Not):
            self._say(b"n" + feed.encode(seen))
        else:
            self._say(b"s%d %b\n" % (made, _encoded(seen)))

    # ---- sending ----

    def _say(self, line: bytes) -> None:
        if self._socket is None or not line:
            return
        try:
            done = self._socket.say(line)
        except OSError:
            self._again()
            return
        if not done and not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._flush)

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            if not self._socket.flush():
                return
        except OSError:
            self._again()
            return
        self._writing = False
        self._loop.remove_writer(self._socket)

    def _again(self) -> None:
        """Give the program up: it ended, or takes nothing. `look` makes another one."""
        one = self._taken()
        if one is not None:
            one.give_up()
            self._former.append(one)


def _encoded(seen: Status) -> bytes:
    try:
        return msgspec.json.encode(seen)
    except UnicodeEncodeError:  # a name with bytes that are no characters
        return msgspec.json.encode(journal.characters(msgspec.to_builtins(seen)))


def _line(entry: Entry) -> bytes:
    return b"e%d %b\n" % (entry.seq, journal.encode(entry))
