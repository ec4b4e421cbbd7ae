"""The files of a daemon's memory in a folder of /run, and the space that is reserved for them.

All of it is reserved, or nothing: what a start that finds no space would leave is what one that
was killed leaves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusterip.adapters import refusals
from clusterip.adapters.reserved import Reserved
from clusterip.core.errors import SystemFaultError

NOTE_BYTES: Final = 128
VOTERS_BYTES: Final = 2560
"""For 32 names of 63 characters."""
HANDOVER_BYTES: Final = 3 << 16
"""Three times what one of 32 nodes and 256 buckets takes, all of which drain, and its alarms."""

JOURNAL_BYTES: Final = 1 << 21
"""How many a journal may have: twice what a thousand events usually take.

No space is reserved: without any it is lost, and nothing else.
"""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say what is wrong with the file system where it is written to in vain."""
    try:
        yield
    except OSError as error:
        place = next(one for one in (folder, *folder.parents) if one.is_mount())
        raise SystemFaultError(
            f"cannot write to {folder}, on the file system of {place}: {error.strerror}",
            refusals.cure(error, folder),
        ) from error


class RunSpace:
    """The note, the voters and the hand-over in `folder`. Any of this may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.note = Reserved(folder / "note", NOTE_BYTES)
        self.voters = Reserved(folder / "voters", VOTERS_BYTES)
        self.handover = Reserved(folder / "handover", HANDOVER_BYTES)
        self._journal = folder / "journal"
        self.lasting = (self.note, self.voters)
        """Those that are always there; the hand-over is for a moment only."""
        self._all = (*self.lasting, self.handover)

    def reserve(self) -> None:
        """See that there is space for all of it."""
        for file in self.lasting:
            file.reserve()
            if not file.exists():
                file.write(b"")
                file.reserve()
        if not self.handover.exists():
            self.handover.reserve()

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take away, where the body raises, what of the files was not there before."""
        there = [(file, file.exists(), file.is_reserved()) for file in self._all]
        try:
            yield
        except BaseException:
            for file, existed, was_reserved in there:
                if not existed:
                    file.remove()
                if not was_reserved:
                    file.release()
            raise

    def try_reserving(self, folder: Path) -> None:
        """Take the space that `reserve` would, in another folder that is empty."""
        other = RunSpace(folder)
        for file, trial in zip(self._all, other._all, strict=True):
            if file in self.lasting and not file.exists():
                trial.write(b"")
            if not file.is_reserved() and (file in self.lasting or not file.exists()):
                trial.reserve()

    def release(self) -> None:
        """Give back what is reserved: it takes no space."""
        for file in self._all:
            file.release()

    def leave_journal(self, raw: bytes) -> bool:
        """Leave a journal for the successor, if there is space for all of it; say whether."""
        try:
            self._journal.write_bytes(raw)
        except OSError:
            self.take_journal()
            return False
        return True

    def take_journal(self) -> bytes:
        """Return the journal that was left, and have none any more; b"" if none was."""
        raw = b""
        with contextlib.suppress(OSError):
            raw = self._journal.read_bytes()
        with contextlib.suppress(OSError):
            self._journal.unlink()
        return raw
