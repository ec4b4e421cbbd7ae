"""What a daemon keeps beside the pins, in the folder of its cluster (`runfiles`).

Kept are its lock, until when its promises bind a successor (the note), the voters it last ran
with, and, for the moment of a planned restart, the hand-over. All times are CLOCK_BOOTTIME, which
begins anew with each boot of the kernel; so what an earlier boot left is not read.

Their space is reserved before a daemon says a word: what it promises then, it can write down.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec

from clusterip.adapters import runfiles
from clusterip.adapters.reserved import Reserved
from clusterip.adapters.runspace import JOURNAL_BYTES, RunSpace, writing
from clusterip.adapters.telling import note, tell
from clusterip.core import leftovers
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.events import Level, PutBack
from clusterip.core.journal import Journal, Kept, load
from clusterip.core.leftovers import Handed, Kind, Left, Note, Voters

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TRIES: Final = 40
_PAUSE: Final = 0.005
"""Seconds between two tries to have the lock."""


class Memory(Protocol):
    """What outlives a daemon, but not a boot of the kernel.

    Whatever writes raises SystemFaultError where that cannot be done, and leaves what was there.
    """

    def reserve(self) -> None:
        """See that there is space for all of it."""

    def keep(self) -> None:
        """Put back what somebody removed; what cannot be is logged.

        RefusedError where another daemon was started meanwhile, and runs at the second look, too.
        """

    def note(self) -> int | None:
        """Return until when promises bind a successor, CLOCK_BOOTTIME ns; None if not known."""

    def set_note(self, until: int) -> None:
        """Record it."""

    def voters(self) -> frozenset[str] | None:
        """Return the names of the voters last used; None if not known."""

    def set_voters(self, names: frozenset[str]) -> None:
        """Record them."""

    def put_handover(self, handed: Handed) -> None:
        """Leave a hand-over for the successor."""

    def take_handover(self) -> Handed | None:
        """Take the hand-over: it is removed before it is returned, for it holds good once."""

    def put_journal(self, journal: Journal) -> None:
        """Leave a journal for the successor, as much as there is space for; else it begins anew."""

    def take_journal(self) -> Kept | None:
        """Take the journal that the one before left, None if it left none."""


def release_killed() -> None:
    """Forget that daemons were killed: the space that they left is given back.

    SystemFaultError where nothing can be written. Where there is no space it works.
    """
    for name in runfiles.killed():
        # One that starts meanwhile has it now.
        with contextlib.suppress(RefusedError):
            RunFiles(name).release()


def try_reserving(cluster: str) -> None:
    """Raise SystemFaultError where a daemon would find no space for what it keeps; leave nothing.

    One that was killed has left its space to its successor.
    """
    there = next(one for one in (runfiles.ROOT, *runfiles.ROOT.parents) if one.is_dir())
    with (
        writing(runfiles.ROOT),
        tempfile.TemporaryDirectory(prefix="clusterip-", dir=there) as name,
    ):
        RunSpace(runfiles.folder_of(cluster)).try_reserving(Path(name))


def _left(raw: bytes, kind: type[Kind], boot: str) -> Kind | None:
    """Return what was left in that boot of the kernel, None for nothing; of damage it is said."""
    try:
        return leftovers.decode(raw, kind, boot)
    except SystemFaultError as error:
        note(f"{error.message}: going on without it", Level.WARNING)
        return None


class RunFiles:
    """The memory of a cluster's daemon in this network namespace."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._folder = runfiles.folder_of(cluster)
        self._boot = _BOOT_ID.read_text(encoding="ascii").strip()
        self._space = RunSpace(self._folder)
        self._note, self._voters = self._space.lasting
        self._handover = self._space.handover
        self._lock: int | None = None
        """The descriptor that has the lock of the folder; None where it is not claimed."""
        self._lasting: dict[Reserved, bytes] = {}
        """What the note and the voters have in them."""
        self._said = ""
        self._began = False
        """Whether anything was written that binds a successor."""

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only daemon of the cluster here; RefusedError if there is one.

        SystemFaultError if there is no space for what it is to keep, and it keeps none.
        """
        self._lock = self._locked_file(_TRIES)
        reserved = self._note.is_reserved()
        try:
            self._begin()
            try:
                yield
            except BaseException as error:
                # What began leaves its space to its successor; so does what finds that it was left.
                if isinstance(error, RefusedError) or not (self._began or reserved):
                    self._space.release()
                raise
            self._space.release()
        finally:
            os.close(self._lock)
            self._lock = None

    def _begin(self) -> None:
        """Have the space there, and know what lasts."""
        handed = self._handover.exists()
        try:
            with contextlib.nullcontext() if handed else self._space.all_or_nothing():
                self.reserve()
        except SystemFaultError as error:
            if not handed:
                raise
            # Whoever takes over has buckets; it had better go on.
            note(str(error), Level.ERROR)
        self._lasting = {file: file.read() or b"" for file in self._space.lasting}

    def release(self) -> None:
        """Give back the space that one that was killed left; RefusedError if one runs again."""
        with contextlib.ExitStack() as stack:
            # Where there can be no lock file, nobody else has it either.
            with contextlib.suppress(SystemFaultError):
                stack.callback(os.close, self._locked_file(_TRIES))
            with writing(self._folder):
                self._space.release()

    def _locked_file(self, tries: int = 1) -> int:
        """Return a descriptor that has the lock of the folder, made where there is none.

        Who looks whether a daemon runs (`_locked`) has the lock meanwhile: that is no daemon.
        """
        with writing(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._folder / runfiles.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(tries):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            if tries > 1:
                time.sleep(_PAUSE)
        os.close(fd)
        raise RefusedError(
            f"the daemon of cluster {self._cluster} runs here already",
            "see `clusterip show`; `clusterip restart` replaces it without a gap",
        )

    def keep(self) -> None:
        """Put back what somebody removed; see `Memory.keep`. It is for who has claimed it."""
        if self._lock is None:
            return
        has_lock = self._has_lock(self._lock)
        if has_lock and all(file.exists() for file in self._lasting):
            return
        try:
            if not has_lock:
                before, self._lock = self._lock, self._locked_file()
                os.close(before)
            with writing(self._folder):
                for file, content in self._lasting.items():
                    file.write(content)
            self.reserve()
        except (RefusedError, SystemFaultError) as error:
            if self._said != str(error):
                note(str(error), Level.ERROR)
            elif isinstance(error, RefusedError):
                raise  # it did not only try to start
            self._said = str(error)
        else:
            self._said = ""
            tell(PutBack(what=str(self._folder)))

    def _has_lock(self, fd: int) -> bool:
        """Tell whether what we have locked is what another daemon would lock."""
        with contextlib.suppress(OSError):
            return os.path.samestat((self._folder / runfiles.LOCK).stat(), os.fstat(fd))
        return False

    def reserve(self) -> None:
        """See that there is space for all of it."""
        with writing(self._folder):
            self._space.reserve()

    def note(self) -> int | None:
        """Return until when promises bind a successor, CLOCK_BOOTTIME ns; None if not known."""
        note = self._left(self._note.read(), Note)
        return None if note is None else note.until

    def set_note(self, until: int) -> None:
        """Record it."""
        self._write(self._note, Note(until=until))

    def voters(self) -> frozenset[str] | None:
        """Return the names of the voters last used; None if not known."""
        voters = self._left(self._voters.read(), Voters)
        return None if voters is None else voters.names

    def set_voters(self, names: frozenset[str]) -> None:
        """Record them."""
        self._write(self._voters, Voters(names=names))

    def put_handover(self, handed: Handed) -> None:
        """Leave a hand-over for the successor."""
        self._write(self._handover, handed)

    def take_handover(self) -> Handed | None:
        """Take the hand-over: it is removed before it is returned, for it holds good once."""
        with writing(self._folder):
            return self._left(self._handover.take(), Handed)

    def put_journal(self, journal: Journal) -> None:
        """Leave a journal for the successor, as much as there is space for; else it begins anew."""
        room = JOURNAL_BYTES
        while (raw := journal.keep(room, self._boot)) and not self._space.leave_journal(raw):
            room //= 4

    def take_journal(self) -> Kept | None:
        """Take the journal that the one before left, None if it left none."""
        return load(self._space.take_journal(), self._boot)

    def _left(self, raw: bytes | None, kind: type[Kind]) -> Kind | None:
        """Return what this boot of the kernel left there."""
        return _left(raw or b"", kind, self._boot)

    def _write(self, file: Reserved, what: Left) -> None:
        content = leftovers.encode(msgspec.structs.replace(what, boot=self._boot))
        self._began = True
        with writing(self._folder):
            file.write(content)
        if file in self._lasting:
            self._lasting[file] = content


@dataclass
class FakeMemory:
    """A memory in memory, for tests."""

    until: int | None = None
    names: frozenset[str] | None = None
    handover: Handed | None = None
    notes: list[int] = field(default_factory=list)
    full: bool = False
    """Whether nothing can be written."""

    def reserve(self) -> None:
        """See that there is space."""
        if self.full:
            raise SystemFaultError("no space left", "make room")

    def keep(self) -> None:
        """Have nothing that could be removed."""

    def note(self) -> int | None:
        """Return the note."""
        return self.until

    def set_note(self, until: int) -> None:
        """Record it."""
        self.reserve()
        self.until = until
        self.notes.append(until)

    def voters(self) -> frozenset[str] | None:
        """Return the voters."""
        return self.names

    def set_voters(self, names: frozenset[str]) -> None:
        """Record them."""
        self.reserve()
        self.names = names

    def put_handover(self, handed: Handed) -> None:
        """Leave a hand-over."""
        self.reserve()
        self.handover = handed

    def take_handover(self) -> Handed | None:
        """Take it."""
        handed, self.handover = self.handover, None
        return handed

    def put_journal(self, journal: Journal) -> None:
        """Leave none: what happens here need not be known."""

    def take_journal(self) -> Kept | None:
        """Return that none was left."""
        return None
