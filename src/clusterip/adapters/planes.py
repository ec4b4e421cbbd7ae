"""The planes of one network namespace: a folder in bpffs, and in it one for each interface.

The folder of an interface is named after its ifindex. It is built aside and renamed into place,
so it is complete or absent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from clusterip.adapters import libbpf
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


class PinnedPlanes:
    """All planes of one network namespace: a folder in bpffs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices for which there is a plane."""
        if not self._folder.is_dir():
            return ()
        names = (entry.name for entry in self._folder.iterdir())
        return tuple(sorted(int(name) for name in names if name.isdigit()))

    def create(self, state: InterfaceState) -> None:
        """Load the programs and pin everything, with `state` in force; nothing runs yet."""
        folder = self._folder / f"{_ASIDE}{state.index}-{os.getpid()}"
        loaded = libbpf.Object(object_content())
        try:
            _make(folder)
            maps = {name: loaded.map_fd(name) for name in _MAPS}
            MapPlane(maps).commit(state)
            for name, fd in maps.items():
                libbpf.pin(fd, str(folder / name))
            for name in _PROGRAMS:
                libbpf.pin(loaded.program_fd(f"clusterip_{name}"), str(folder / name))
            (folder / _origin()).mkdir()
            folder.rename(self._folder / str(state.index))
        except BaseException:
            self.sweep()
            raise
        finally:
            loaded.close()

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[Plane]:
        """Open the plane of an interface for as long as the context lasts."""
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
        if (folder / _origin()).exists():
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

    def remove(self, index: int) -> None:
        """Unpin everything of an interface, at once; what is attached goes on running."""
        gone = self._folder / f"{_ASIDE}{index}-{os.getpid()}"
        (self._folder / str(index)).rename(gone)
        self.sweep()

    def sweep(self) -> None:
        """Remove what interrupted commands left behind, and folders that are empty."""
        if not self._folder.is_dir():
            return
        for entry in self._folder.iterdir():
            if entry.name.startswith(_ASIDE):
                shutil.rmtree(entry)
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

    def remove(self, index: int) -> None:
        """Forget a plane."""
        del self.planes[index]

    def sweep(self) -> None:
        """Leave nothing behind, so find nothing."""
