"""Saying what happens: an event goes to whoever takes the messages of the logger `clusterip`.

An event is the message itself: who takes messages as text gets its line, and the journal the event.
"""

from __future__ import annotations

import logging
from typing import Final

from clusterip.core.events import Event, Level, Noted

LEVELS: Final = {
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
_log = logging.getLogger("clusterip")


def tell(event: Event) -> None:
    """Say what happened."""
    _log.log(LEVELS[event.level], event)


def note(what: str, level: Level = Level.INFO) -> None:
    """Say what is no event of a kind of its own."""
    tell(Noted(what=what, matters=level))


def event_of(record: logging.LogRecord) -> Event:
    """Return the event that a message is, whoever said it."""
    if isinstance(record.msg, Event):
        return record.msg
    return Noted(what=record.getMessage(), matters=level_of(record.levelno))


def level_of(number: int) -> Level:
    """Return the level of a number of `logging`."""
    if number >= logging.ERROR:
        return Level.ERROR
    return Level.WARNING if number >= logging.WARNING else Level.INFO
