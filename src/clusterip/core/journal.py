"""The journal of a daemon: the last events, numbered, and what is said of those that repeat.

Each event has a number, one higher than the one before, in a journal that has a name of its own. A
planned restart hands the journal over, so numbers go on; where it was lost, there is another name.
What is numbered with a gap was lost: the journal keeps `ROOM` events.

What goes on is not said again and again: of events that are about the same, and come without a
pause, the first few are said (`Event.burst`), the next are counted, and how many there were is said
when there is a pause, with the newest line of them: so the last line says how it is now. Where it
goes on being so (`Event.lasts`), the newest is said itself then, though late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import msgspec

from clusterip.core import events
from clusterip.core.events import Event, Repeated, Unknown
from clusterip.core.units import SECOND

ROOM: Final = 1000
"""How many entries are kept."""
LONGEST: Final = 4000
"""How many characters a line of an entry has at most."""
_NO_CHARACTERS: Final = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""Undecodable bytes as Python has them (PEP 383), which have no place in JSON: what they become."""
_TOPICS: Final = 256
"""How many topics are known at a time: of others each event is said."""


class Stamp(msgspec.Struct, frozen=True):
    """When it is: `time` for people, s since 1970; `clock` to order by, CLOCK_BOOTTIME, ns."""

    time: float
    clock: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a journal, as JSON has it too."""

    seq: int
    """Its number, from 1."""
    time: float
    """When, s since 1970, by the clock of the host, which may be set."""
    clock: int
    """When, CLOCK_BOOTTIME, ns."""
    level: str
    """"info", "warning" or "error"."""
    text: str
    """What happened, a line for people."""
    event: dict[str, Any]
    """The event as JSON has it: its kind, and its fields."""

    @property
    def kind(self) -> str:
        """The kind of its event."""
        return str(self.event.get("kind", ""))

    def typed(self) -> Event | Unknown:
        """Return the event; ValueError where it is none."""
        return events.read(self.event)


_ENTRY: Final = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Return it as JSON, in one line without its end."""
    return msgspec.json.encode(entry)


def decode(raw: bytes) -> Entry:
    """Return the entry in a line of JSON; ValueError for what is none."""
    try:
        return _ENTRY.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A journal as it is handed over."""

    boot: str = ""
    """The id of the boot of the kernel that it is of."""
    name: str = ""
    last: int = 0
    entries: list[Entry] = []
    lost: int = 0
    """How many entries were left out, for want of room."""


class _Topic:
    """What is said of one thing: the newest event, how many were said, how many only counted."""

    __slots__ = ("counted", "newest", "said", "seen", "since")

    def __init__(self, event: Event, at: int) -> None:
        self.newest, self.said, self.counted = event, 0, 0
        self.since = self.seen = at
        """When the first came that was only counted, and when the newest came; ns."""


class Journal:
    """A journal with a name of 16 hex digits, empty at first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: deque[Entry] = deque(maxlen=ROOM)
        self.last = 0
        """The number of the newest entry."""
        self._topics: dict[str, _Topic] = {}

    def restore(self, kept: Kept) -> None:
        """Go on with a journal that was handed over; what is in this one comes after it."""
        ours = list(self.entries)
        self.name, self.last = kept.name, kept.last
        self.entries.clear()
        self.entries.extend(kept.entries)
        for one in ours:
            self._add(msgspec.structs.replace(one, seq=self.last + 1))

    def keep(self, room: int, boot: str) -> bytes:
        """Return what is to be handed over, in `room` bytes at most: the newest that fit."""
        kept = Kept(boot=boot, name=self.name, last=self.last, lost=len(self.entries))
        left = room - len(msgspec.json.encode(kept))
        if left < 0:
            return b""
        most: deque[Entry] = deque()
        for one in reversed(self.entries):
            left -= len(encode(one)) + len(b",")
            if left < 0:
                break
            most.appendleft(one)
        lost = len(self.entries) - len(most)
        return msgspec.json.encode(msgspec.structs.replace(kept, entries=list(most), lost=lost))

    def record(self, event: Event, *, at: Stamp) -> list[Entry]:
        """Take in an event; return what is to be said: its entry, or nothing if it is counted."""
        found = self.look(at=at)
        topic = self._topic_of(event, at.clock) if event.burst else None
        if topic is not None:
            topic.newest, topic.seen = event, at.clock
            if topic.said >= event.burst:
                topic.since = topic.since if topic.counted else at.clock
                topic.counted += 1
                return found
            topic.said += 1
        return [*found, self._said(event, at)]

    def _topic_of(self, event: Event, clock: int) -> _Topic | None:
        name = event.topic
        if name not in self._topics and len(self._topics) < _TOPICS:
            self._topics[name] = _Topic(event, clock)
        return self._topics.get(name)

    def look(self, *, at: Stamp) -> list[Entry]:
        """Return what is to be said of what came again and again, and does not any more."""
        over = [
            name for name, one in self._topics.items() if at.clock >= one.seen + one.newest.quiet
        ]
        return self._over(over, at)

    def end(self, *, at: Stamp) -> list[Entry]:
        """Return what is to be said of what came again and again, for nobody will count it."""
        return self._over(list(self._topics), at)

    def after(self, seq: int) -> Iterable[Entry]:
        """Return the entries with higher numbers, in order."""
        return (one for one in self.entries if one.seq > seq)

    def _over(self, names: Iterable[str], at: Stamp) -> list[Entry]:
        said = []
        for one in map(self._topics.pop, names):
            # What is so from then on is said itself, for who waits for just that.
            itself = bool(one.counted) and one.newest.lasts
            if count := one.counted - itself:
                repeated = Repeated(
                    of=one.newest.kind,
                    what=one.newest.text,
                    count=count,
                    seconds=round((one.seen - one.since) / SECOND, 3),
                    matters=one.newest.level,
                )
                said.append(self._said(repeated, at))
            if itself:
                said.append(self._said(one.newest, at))
        return said

    def _said(self, event: Event, at: Stamp) -> Entry:
        return self._add(
            Entry(
                seq=self.last + 1,
                time=at.time,
                clock=at.clock,
                level=event.level.value,
                text=characters(_line(event.text)),
                event=characters(msgspec.to_builtins(event)),
            )
        )

    def _add(self, entry: Entry) -> Entry:
        self.last = entry.seq
        self.entries.append(entry)
        return entry


def characters(value: Any) -> Any:
    """Return a value of JSON in which bytes that are no characters, of a file's name, are told."""
    if isinstance(value, str):
        return value.translate(_NO_CHARACTERS)
    if isinstance(value, dict):
        return {name: characters(one) for name, one in value.items()}
    return [characters(one) for one in value] if isinstance(value, list) else value


def _line(text: str) -> str:
    """Return it as one line, and not too long."""
    return " | ".join(filter(None, map(str.strip, text.splitlines())))[:LONGEST]


def load(raw: bytes, boot: str) -> Kept | None:
    """Return what was handed over in that boot; None for anything else, and for damage."""
    try:
        kept = _KEPT.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    whole = all(before.seq < after.seq for before, after in pairwise(kept.entries))
    beyond = kept.entries and kept.entries[-1].seq > kept.last
    return None if kept.boot != boot or not kept.name or not whole or beyond else kept


_KEPT: Final = msgspec.json.Decoder(Kept)
