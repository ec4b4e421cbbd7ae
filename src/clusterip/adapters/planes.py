"""The planes of one network namespace: a folder in bpffs, and in it one for each interface.

The folder of an interface is named after its ifindex. It is built aside and renamed into place,
so it is complete or absent.

Pins are for other processes and for successors. A daemon keeps what it shares open, and goes by
that: whoever takes the pins away, or the whole bpffs, takes nothing from it, and it pins anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from clusterip.adapters import bpffs, libbpf
from clusterip.adapters.dataplane import FakePlane, MapPlane, OtherVersionError, Plane
from clusterip.adapters.hooks import NO_PROGRAM, Programs
from clusterip.core.errors import SystemFaultError
from clusterip.core.state import InterfaceState

_MAPS: Final = ("config", "groups", "verdicts", "traffic", "peers", "keys")
_GUARDS: Final = ("guard_ingress", "guard_egress")
_PROGRAMS: Final = ("ingress", "egress", "xdp", *_GUARDS)
_ASIDE: Final = "new-"
_FROM: Final = "from-"


class Planes(Protocol):
    """The planes there are."""

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices for which there is a plane."""

    def create(self, state: InterfaceState) -> None:
        """Load the programs and pin everything, with `state` in force; nothing runs yet."""

    def open(self, index: int) -> AbstractContextManager[Plane]:
        """Open the plane of an interface for as long as the context lasts."""

    def programs(self, index: int) -> AbstractContextManager[Programs]:
        """Open the programs of an interface for as long as the context lasts."""

    def renew(self, index: int) -> bool:
        """Pin this installation's programs in place of another's, with the maps there are.

        Says whether there was something to do; what is attached is the caller's business.
        """

    def try_renewing(self, index: int) -> None:
        """Have the kernel verify what `renew` would pin, as it is installed now; pin nothing."""

    def keep(self, index: int) -> None:
        """Hold the plane of an interface open until it is removed, and go by what is open.

        From then on it is there for this process, whatever becomes of the pins.
        """

    def is_pinned(self, index: int) -> bool:
        """Tell whether the pins of what is kept are what they were, and can be changed."""

    def pin(self, index: int) -> None:
        """Pin what is kept anew, in place of what is there now; OSError where it cannot be.

        bpffs is mounted where it is no more: SystemFaultError where that cannot be.
        """

    def remove(self, index: int) -> None:
        """Unpin everything of an interface, at once; what is attached goes on running."""

    def sweep(self) -> None:
        """Remove what interrupted commands left behind, and folders that are empty."""


def object_content() -> bytes:
    """Return the compiled BPF object; SystemFaultError if the installation lacks it."""
    try:
        return resources.files(__package__).joinpath("clusterip.bpf.o").read_bytes()
    except FileNotFoundError as error:
        raise SystemFaultError(
            "the BPF object is missing from this installation",
            "in a source tree: make object; else install the wheel again",
        ) from error


def check_installation() -> None:
    """Raise SystemFaultError if libbpf or the BPF object is missing."""
    libbpf.possible_cpus()
    object_content()


def try_loading() -> None:
    """Have the kernel verify the programs, and forget them; SystemFaultError if it refuses."""
    libbpf.Object(object_content()).close()


@cache
def _origin() -> str:
    """Return the name of the empty folder that says of which object the programs are."""
    return _name_of(object_content())


def _name_of(content: bytes) -> str:
    return _FROM + hashlib.sha256(content).hexdigest()[:16]


@contextlib.contextmanager
def _loaded(content: bytes, folder: Path) -> Iterator[libbpf.Object]:
    """Load an object with the maps that are pinned in `folder`."""
    with contextlib.ExitStack() as stack:
        maps = {name: stack.enter_context(libbpf.pinned(str(folder / name))) for name in _MAPS}
        loaded = libbpf.Object(content, maps)
        stack.callback(loaded.close)
        yield loaded


@dataclass
class _Kept:
    """What a process holds open of a plane: descriptors by the names of their pins."""

    maps: dict[str, int]
    programs: dict[str, int]
    inodes: list[tuple[int, int]]
    """What tells its pins from all others."""
    close: Callable[[], None]


def _inodes(folder: Path) -> list[tuple[int, int]]:
    """Return device and inode of each pin of a plane; OSError where one is not there."""
    found = [(folder / name).lstat() for name in (*_MAPS, *_PROGRAMS)]
    return [(one.st_dev, one.st_ino) for one in found]


class PinnedPlanes:
    """All planes of one network namespace: a folder in bpffs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[int, _Kept] = {}

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices for which there is a plane."""
        found = set(self._kept)
        if self._folder.is_dir():
            names = (entry.name for entry in self._folder.iterdir())
            found |= {int(name) for name in names if name.isdigit()}
        return tuple(sorted(found))

    def create(self, state: InterfaceState) -> None:
        """Load the programs and pin everything, with `state` in force; nothing runs yet."""
        loaded = libbpf.Object(object_content())
        try:
            maps = {name: loaded.map_fd(name) for name in _MAPS}
            MapPlane(maps).commit(state)
            programs = {name: loaded.program_fd(f"clusterip_{name}") for name in _PROGRAMS}
            self._pin(state.index, maps | programs)
        finally:
            loaded.close()

    def _pin(self, index: int, objects: dict[str, int]) -> None:
        """Pin objects, by the names of their pins; what is there in their place goes."""
        folder, place = self._aside(index), self._folder / str(index)
        try:
            _make(folder)
            for name, fd in objects.items():
                libbpf.pin(fd, str(folder / name))
            (folder / _origin()).mkdir()
            if os.path.lexists(place):
                place.rename(self._aside(index, "old-"))
            folder.rename(place)
        finally:
            self.sweep()

    def _aside(self, index: int, more: str = "") -> Path:
        return self._folder / f"{_ASIDE}{more}{index}-{os.getpid()}"

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Plane]:
        """Open the plane of an interface for as long as the context lasts."""
        if index in self._kept:
            yield MapPlane(self._kept[index].maps)
            return
        with contextlib.ExitStack() as stack:
            folder = self._folder / str(index)
            if folder.is_dir() and not all((folder / name).exists() for name in _MAPS):
                raise OtherVersionError
            yield MapPlane(
                {name: stack.enter_context(libbpf.pinned(str(folder / name))) for name in _MAPS}
            )

    @contextlib.contextmanager
    def programs(self, index: int) -> Iterator[Programs]:
        """Open the programs of an interface for as long as the context lasts."""
        if index in self._kept:
            yield Programs(**self._kept[index].programs)
            return
        with contextlib.ExitStack() as stack:
            folder = self._folder / str(index)
            yield Programs(
                *(
                    stack.enter_context(libbpf.pinned(str(folder / name)))
                    if name not in _GUARDS or (folder / name).exists()
                    else NO_PROGRAM
                    for name in _PROGRAMS
                )
            )

    def renew(self, index: int) -> bool:
        """Pin this installation's programs in place of another's, with the maps there are.

        Says whether there was something to do; what is attached is the caller's business.
        """
        folder = self._folder / str(index)
        if index in self._kept or (folder / _origin()).exists():
            return False
        with _loaded(object_content(), folder) as loaded:
            for name in _PROGRAMS:
                aside = folder / f"{_ASIDE}{name}"
                aside.unlink(missing_ok=True)
                libbpf.pin(loaded.program_fd(f"clusterip_{name}"), str(aside))
                aside.rename(folder / name)
        for other in folder.glob(f"{_FROM}*"):
            other.rmdir()
        # Last: interrupted before, it is done again.
        (folder / _origin()).mkdir()
        return True

    def try_renewing(self, index: int) -> None:
        """Have the kernel verify what `renew` would pin; see `Planes.try_renewing`."""
        # Not the origin that is kept: who asks may run since before an upgrade.
        content, folder = object_content(), self._folder / str(index)
        if not (folder / _name_of(content)).exists():
            with _loaded(content, folder):
                pass

    def keep(self, index: int) -> None:
        """Hold the plane of an interface open until it is removed; see `Planes.keep`."""
        folder = self._folder / str(index)
        with contextlib.ExitStack() as stack:

            def opened(*names: str) -> dict[str, int]:
                pins = {name: libbpf.pinned(str(folder / name)) for name in names}
                return {name: stack.enter_context(pin) for name, pin in pins.items()}

            maps, programs, inodes = opened(*_MAPS), opened(*_PROGRAMS), _inodes(folder)
            self._kept[index] = _Kept(maps, programs, inodes, stack.pop_all().close)

    def is_pinned(self, index: int) -> bool:
        """Tell whether the pins of what is kept are what they were; see `Planes.is_pinned`."""
        folder = self._folder / str(index)
        with contextlib.suppress(OSError):
            return os.access(folder, os.W_OK) and _inodes(folder) == self._kept[index].inodes
        return False

    def pin(self, index: int) -> None:
        """Pin what is kept anew, in place of what is there now; see `Planes.pin`."""
        kept = self._kept[index]
        self._folder = bpffs.found_again(self._folder)
        self._pin(index, kept.maps | kept.programs)
        kept.inodes = _inodes(self._folder / str(index))

    def remove(self, index: int) -> None:
        """Unpin everything of an interface, at once; what is attached goes on running."""
        kept = self._kept.pop(index, None)
        try:
            (self._folder / str(index)).rename(self._aside(index))
        except (FileNotFoundError, NotADirectoryError):
            # What was kept may have lost its pins.
            if kept is None:
                raise
        finally:
            if kept is not None:
                kept.close()
        self.sweep()

    def sweep(self) -> None:
        """Remove what interrupted commands left behind, and folders that are empty."""
        if not self._folder.is_dir():
            return
        for entry in self._folder.iterdir():
            if not entry.name.startswith(_ASIDE):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:  # what somebody put in the place of a folder
                entry.unlink()
        for folder in (self._folder, self._folder.parent):
            with contextlib.suppress(OSError):  # not empty: in use
                folder.rmdir()


def _make(folder: Path) -> None:
    """Make a folder and those above it, of which another namespace may remove an empty one."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return


@dataclass
class FakePlanes:
    """Planes in memory, for tests."""

    planes: dict[int, FakePlane] = field(default_factory=dict)

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices for which there is a plane."""
        return tuple(sorted(self.planes))

    def create(self, state: InterfaceState) -> None:
        """Make a plane."""
        self.planes[state.index] = FakePlane(state)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Plane]:
        """Give the plane of an interface."""
        if index not in self.planes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield self.planes[index]

    @contextlib.contextmanager
    def programs(self, index: int) -> Iterator[Programs]:
        """Give descriptors that are none."""
        del index
        yield Programs(*(NO_PROGRAM for _ in _PROGRAMS))

    def renew(self, index: int) -> bool:
        """Have no programs, so none of another installation."""
        del index
        return False

    def try_renewing(self, index: int) -> None:
        """Have no programs, so none that the kernel refuses."""

    def keep(self, index: int) -> None:
        """Have nothing that could be taken away."""

    def is_pinned(self, index: int) -> bool:
        """Tell whether there is a plane."""
        return index in self.planes

    def pin(self, index: int) -> None:
        """Have nothing that could be pinned."""

    def remove(self, index: int) -> None:
        """Forget a plane."""
        del self.planes[index]

    def sweep(self) -> None:
        """Leave nothing behind, so find nothing."""
