"""The journal of this process: takes in what is said, and passes it on, to the log and to others.

All that is said goes to the logger `clusterip` (`adapters.telling`), whose handler this is: of what
the journal only counts nobody hears.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator

from clusterip.adapters.clock import boottime
from clusterip.adapters.memory import Memory
from clusterip.adapters.telling import LEVELS, event_of
from clusterip.core.events import Level
from clusterip.core.journal import Entry, Journal, Kept, Stamp

Sink = Callable[[Entry], None]


class Journaling(logging.Handler):
    """Records events; `out` prints them, and gets a record with the entry as `entry`."""

    def __init__(self, out: logging.Handler | None = None) -> None:
        super().__init__()
        self.journal = Journal(secrets.token_hex(8))
        self.sink: Sink | None = None
        """Who else is told of each entry: called in whatever thread something is said."""
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Take in what is said, and pass on what is to be heard."""
        try:
            self._pass_on(self.journal.record(event_of(record), at=stamp()))
        except Exception:  # noqa: BLE001 - what goes wrong with the log ends no daemon
            self.handleError(record)

    def look(self) -> None:
        """Say what came again and again, and does not any more."""
        with self._locked():
            self._pass_on(self.journal.look(at=stamp()))

    def end(self) -> None:
        """Say what came again and again: this process ends, and nobody counts any more."""
        with self._locked():
            self._pass_on(self.journal.end(at=stamp()))

    def leave(self, memory: Memory) -> None:
        """Leave the journal to a successor: this process ends."""
        self.end()
        with self._locked():
            memory.put_journal(self.journal)

    def restore(self, kept: Kept | None) -> None:
        """Go on with the journal of the daemon before, if it left one."""
        if kept is not None:
            with self._locked():
                self.journal.restore(kept)

    def listen(self, sink: Sink | None) -> list[Entry]:
        """Have each entry told to `sink` from now on; return those that there are."""
        with self._locked():
            self.sink = sink
            return list(self.journal.entries)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _pass_on(self, entries: Iterable[Entry]) -> None:
        for one in entries:
            if self._out is not None:
                self._out.handle(_record(one))
            if self.sink is not None:
                self.sink(one)


def stamp() -> Stamp:
    """Return when it is."""
    return Stamp(round(time.time(), 6), boottime())


def _record(entry: Entry) -> logging.LogRecord:
    fields = {
        "name": "clusterip",
        "levelno": LEVELS[Level(entry.level)],
        "msg": entry.text,
        "entry": entry,
    }
    return logging.makeLogRecord(fields)
