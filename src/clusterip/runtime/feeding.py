"""Telling the program that serves the status socket what happens, and what is to be seen.

None of it waits: what the program does not take at once waits for it, and one that ends, takes
nothing or does not answer is made anew, the more seldom the more often that comes. A snapshot is
made where it is asked for one, at most once in `SNAPSHOT_SECONDS`.
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
from clusterip.adapters import statussocket
from clusterip.adapters.clock import boottime
from clusterip.adapters.seconds import until_next_second
from clusterip.adapters.statusserver import SNAPSHOT_SECONDS
from clusterip.adapters.statussocket import StatusSocket, group_id, groups_changed, obstacle
from clusterip.adapters.telling import note, tell
from clusterip.core import journal
from clusterip.core.alarms import Alarms
from clusterip.core.config.model import Config
from clusterip.core.events import Level, PutBack
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello, Not
from clusterip.core.status import Status
from clusterip.core.turns import Turns
from clusterip.runtime.journaling import Journaling

_LOOK_SECONDS: Final = 1.0
_GROUP_SECONDS: Final = 30.0
"""How often to look for the group where no file tells that it may have changed: to look it up
opens some hundred files where systemd is, or asks another host."""
_ASK_SECONDS: Final = 2.0
"""How often the program is asked whether it is alive."""
_PATIENCE: Final = 6
"""How many looks it may take to say so: where this machine stands still there are none."""
_BEGINS: Final = 30
"""The same, for one that just began."""
_WELL_SECONDS: Final = 10.0
"""From when on one that began is well."""
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


def _not_told(why: str, cure: str) -> Finding:
    return Finding.of(
        Code.STATUS_NOT_TOLD,
        "who is not root sees no status, and nobody follows events",
        why,
        cure=cure,
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
        self._broken = False
        """Whether the program ended, or takes nothing: `look` sees to it."""
        self._turns = Turns()
        self._begun = self._asked_at = 0.0
        """When the program began, and when it was asked last whether it is alive."""
        self._unanswered = 0
        """How often it was looked at since then, in vain."""
        self._of_group: tuple[Finding, ...] = ()
        self._of_socket: tuple[Finding, ...] = ()
        self._former: list[StatusSocket] = []
        """Those that were given up, and are not over yet."""
        self._inherited = statussocket.former()
        self._loop = asyncio.get_running_loop()
        self._group: int | None = None
        self._let_in: int | None = None

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What is wrong with the group, or with the socket."""
        return (*self._of_group, *self._of_socket)

    async def keep(self) -> None:
        """Have it served, for ever, whoever removes it or ends the program."""
        finding: asyncio.Future[int | None] | None = None
        found_for: tuple[str | None, object] | None = None
        found_at = 0.0
        while True:
            group = self.config.status_group, groups_changed()
            if finding is None and (
                group != found_for or self._loop.time() >= found_at + _GROUP_SECONDS
            ):
                wanted, found_for, found_at = self.config, group, self._loop.time()
                finding = asyncio.ensure_future(asyncio.to_thread(group_id, wanted.status_group))
            if finding is not None:
                # The groups of a host may be on another one, which takes its time.
                await asyncio.wait({finding}, timeout=_LOOK_SECONDS)
                if finding.done():
                    try:
                        self._group = finding.result()
                        self._of_group = of_group(wanted, self._group)
                    except (OSError, RuntimeError):  # the latter: no thread to be had
                        found_for = None
                    finding = None
            self.look()
            await until_next_second()

    def look(self) -> None:
        """Make it, or make it anew where it is not there any more, or is for another group."""
        self._journaling.look()
        self._former = [one for one in self._former if not one.is_over()]
        self._inherited = statussocket.forget(self._inherited)
        now = self._loop.time()
        try:
            if self._socket is not None:
                self._look_at(self._socket, now)
            if self._socket is None and now >= self._turns.at:
                self._begin(now)
                if not self._turns.too_many:
                    self._of_socket = ()
        except OSError as error:
            self._again()
            why, cure = obstacle(self._cluster, error)
            self._of_socket = (_not_told(why, cure),)

    def _look_at(self, one: StatusSocket, now: float) -> None:
        """See whether it is as it should be; else have it no longer."""
        if one.is_over():
            self._failed(one.last_words(), now)
        elif self._broken:
            self._failed("takes nothing in", now)
        elif not one.is_in_place():
            tell(PutBack(what="the status socket"))
            self._again()
        elif self._group != self._let_in:
            # Those of the other group who follow are to end.
            self._again()
        else:
            if one.mend():
                note(
                    "who may use the status socket was changed by others: set right", Level.WARNING
                )
            self._ask(one, now)

    def _ask(self, one: StatusSocket, now: float) -> None:
        """Ask the program whether it is alive, and see whether it said so."""
        if one.answered and now > self._begun + _WELL_SECONDS:
            self._of_socket = ()
        if not one.answered:
            self._unanswered += 1
            if self._unanswered > (_BEGINS if self._asked_at == self._begun else _PATIENCE):
                self._failed("does not answer", now)
        elif now >= self._asked_at + _ASK_SECONDS:
            one.answered, self._unanswered, self._asked_at = False, 0, now
            self._say(b"p\n")

    def _failed(self, how: str, now: float) -> None:
        """Give the program up, and say that it failed in that way."""
        self._again()
        self._turns.ended(now - self._begun, now)
        if self._turns.too_many:
            cure = "mend what keeps it from running; the daemon tries again, each minute at last"
            self._of_socket = (_not_told(f"the program that tells it {how}", cure),)
        else:
            note(f"the program that tells the status {how}: another one begins", Level.WARNING)

    def _begin(self, now: float) -> None:
        self._broken = False
        try:
            self._socket = StatusSocket(self._cluster, self._group)
        except PermissionError:
            if self._group is None:
                raise
            # To give it to a group takes CAP_CHOWN, which a unit may keep back.
            self._socket = StatusSocket(self._cluster, None)
        self._let_in = self._group
        self._begun = self._asked_at = now
        self._unanswered = 0
        self._loop.add_reader(self._socket, self._asked)
        self._say(b"h" + self._hello())
        for entry in self._journaling.listen(self._note):
            self._say(_line(entry))
        self._say(b"p\n")

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
            self._break(self._socket)
            return
        if wanted and self._later is None:
            wait = self._made_at + SNAPSHOT_SECONDS - self._loop.time()
            if wait > 0:
                self._later = self._loop.call_later(wait, self._see)
            else:
                self._see()

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
        if self._socket is None or self._broken or not line:
            return
        try:
            done = self._socket.say(line)
        except OSError:
            self._break(self._socket)
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
            self._break(self._socket)
            return
        self._writing = False
        self._loop.remove_writer(self._socket)

    def _break(self, one: StatusSocket) -> None:
        """Leave the program alone, until `look` sees to it."""
        self._broken = True
        self._loop.remove_reader(one)
        self._loop.remove_writer(one)

    def _again(self) -> None:
        """Give the program up. `look` makes another one."""
        one = self._taken()
        if one is not None:
            one.give_up()
            self._former.append(one)


async def tell_wrong(feeding: Feeding) -> None:
    """Say what is wrong with it, and when that is over, for ever, where nobody else does."""
    alarms = Alarms()
    while True:
        for said in alarms.hold(((one.what, one) for one in feeding.wrong), now=boottime()):
            tell(said)
        await asyncio.sleep(_LOOK_SECONDS)


def _encoded(seen: Status) -> bytes:
    try:
        return msgspec.json.encode(seen)
    except UnicodeEncodeError:  # a name with bytes that are no characters
        return msgspec.json.encode(journal.characters(msgspec.to_builtins(seen)))


def _line(entry: Entry) -> bytes:
    return b"e%d %b\n" % (entry.seq, journal.encode(entry))
