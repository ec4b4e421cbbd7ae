"""The log of a daemon: lines on stderr, which neither end it nor hold it up, whoever reads them."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import select
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from clusterip.core.journal import Entry, encode

_PORTION: Final = 4096
"""PIPE_BUF: what a pipe that can be written to takes as a whole, pipe(7)."""
_STDERR: Final = 2
Handler = TypeVar("Handler", bound=logging.Handler)


class Lines(logging.Formatter):
    """A line for each message; where journald reads them, with their level (sd-daemon(3))."""

    _LEVELS: Final = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a message."""
        text = self._text(record)
        if "JOURNAL_STREAM" in os.environ:
            mark = f"<{self._LEVELS.get(record.levelno, 6)}>"
            return "\n".join(mark + line for line in text.splitlines() or [""])
        return self._plain(text)

    def _text(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        entry = getattr(record, "entry", None)
        detail = entry.event.get("detail") if isinstance(entry, Entry) else None
        return f"{text}\n{detail.rstrip()}" if isinstance(detail, str) and detail else text

    def _plain(self, text: str) -> str:
        return f"clusterip: {text}"


class Json(Lines):
    """A JSON object for each message, in a line: the entry of the journal."""

    def _text(self, record: logging.LogRecord) -> str:
        entry = getattr(record, "entry", None)
        return encode(entry).decode() if isinstance(entry, Entry) else super()._text(record)

    def _plain(self, text: str) -> str:
        return text


class Stderr(logging.Handler):
    """Writes to stderr what can be written at once; what cannot is counted, and lost.

    A full disk, a reader who is gone and one who does not read are no reason to lose a lease.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, and before it how many were lost since the last."""
        try:
            text = self.format(record)
            if self._lost:
                text = f"clusterip: {self._lost} lines of the log were lost here\n{text}"
            self._write(f"{text}\n".encode(errors="backslashreplace"))
            self._lost = 0
        except Exception:  # noqa: BLE001 - whatever it is, there is nowhere to say it
            self._lost += 1

    @staticmethod
    def _write(text: bytes) -> None:
        waiting = select.poll()
        waiting.register(_STDERR, select.POLLOUT)
        while text:
            ((_, ready),) = waiting.poll(0) or ((_STDERR, 0),)
            if not ready & select.POLLOUT:
                raise BlockingIOError
            text = text[os.write(_STDERR, text[:_PORTION]) :]


def begin(*, wrap: Callable[[logging.Handler], Handler], as_json: bool = False) -> Handler:
    """Have the log written to stderr from now on, and where this process is if it is aborted.

    `wrap` returns who takes the messages, and has them written; it is returned.
    """
    # What is closed would be the number of the next file opened, and that would get the log.
    with contextlib.suppress(OSError):
        while (free := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            pass
        os.close(free)
    # Python has none where it was closed.
    sys.stderr = sys.stderr or open(_STDERR, "w", closefd=False)  # noqa: SIM115 - stays open
    faulthandler.enable(_STDERR)
    handler = Stderr()
    handler.setFormatter(Json() if as_json else Lines())
    logger = logging.getLogger("clusterip")
    wrapped = wrap(handler)
    logger.addHandler(wrapped)
    logger.setLevel(logging.INFO)
    return wrapped
