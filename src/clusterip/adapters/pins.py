"""One folder of pins: the maps and programs of one interface, and of which object they are.

What another version pinned may have more or less of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from clusterip.adapters import libbpf, takeover
from clusterip.adapters.bpfobject import digest, object_content
from clusterip.adapters.hooks import NO_PROGRAM, Programs
from clusterip.adapters.kernel_maps import KernelMaps, OtherVersionError, related
from clusterip.core.packets.state import InterfaceState

_READ: Final = ("config", "groups", "verdicts", "traffic")
"""The maps that every version has."""
_MAPS: Final = (*_READ, "peers", "keys", "fragments", "openings", "own_openings")
_ATTACHED: Final = ("ingress", "egress", "xdp")
_PROGRAMS: Final = (*_ATTACHED, "guard_ingress", "guard_egress", "heed", "carry")
_FROM: Final = "from-"


class Taking(NamedTuple):
    """What is loaded to take over what is pinned: its object, old and new maps, the rules."""

    loaded: libbpf.Object
    old: dict[str, int]
    new: dict[str, int]
    state: InterfaceState


def are_of(folder: Path, content: bytes) -> bool:
    """Tell whether what is pinned is of that object."""
    return (folder / f"{_FROM}{digest(content)}").exists()


def fill(folder: Path, objects: Mapping[str, int]) -> None:
    """Make a folder of pins, by their names, of this installation's object."""
    _make(folder)
    for name, fd in objects.items():
        libbpf.pin(fd, str(folder / name))
    (folder / f"{_FROM}{digest(object_content())}").mkdir()


def maps_of(loaded: libbpf.Object) -> dict[str, int]:
    """Return the descriptors of the maps of an object, by the names of their pins."""
    found = {}
    for name in _MAPS:
        with contextlib.suppress(FileNotFoundError):  # another version's may lack some
            found[name] = loaded.map_fd(name)
    return found


def programs_of(loaded: libbpf.Object) -> dict[str, int]:
    """Return the descriptors of the programs of an object, by the names of their pins."""
    return {name: loaded.program_fd(f"clusterip_{name}") for name in _PROGRAMS}


@contextlib.contextmanager
def maps(folder: Path) -> Iterator[dict[str, int]]:
    """Open the maps, by their names; FileNotFoundError where there is no such folder.

    OtherVersionError where those are not among them that every version has.
    """
    there = [name for name in _MAPS if (folder / name).exists()]
    if folder.is_dir() and not set(_READ).issubset(there):
        raise OtherVersionError
    with _opened(folder, there or _READ) as found:
        yield found


@contextlib.contextmanager
def programs(folder: Path) -> Iterator[dict[str, int]]:
    """Open the programs, by their names; FileNotFoundError where there is no such folder."""
    there = [name for name in _PROGRAMS if name in _ATTACHED or (folder / name).exists()]
    with _opened(folder, there) as found:
        yield found


@contextlib.contextmanager
def _opened(folder: Path, names: Iterable[str]) -> Iterator[dict[str, int]]:
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(libbpf.pinned(str(folder / name))) for name in names}


def named(descriptors: Mapping[str, int]) -> Programs:
    """Return those of the programs that are attached."""
    names = Programs.__struct_fields__
    return Programs(*(descriptors.get(name, NO_PROGRAM) for name in names))


def inodes(folder: Path) -> list[tuple[int, int]]:
    """Return device and inode of each pin; OSError where one is not there."""
    # Each second: not by a Path each.
    found = [os.lstat(f"{folder}/{name}") for name in (*_MAPS, *_PROGRAMS)]
    return [(one.st_dev, one.st_ino) for one in found]


@contextlib.contextmanager
def taking_over(
    folder: Path, content: bytes, instead: InterfaceState | None = None
) -> Iterator[Taking]:
    """Load an object that can take over what is pinned, with the maps that are as it has them.

    `instead` are rules to be in force from then on. OtherVersionError, NoRoomError or
    SystemFaultError where it cannot.
    """
    with maps(folder) as old:
        pinned, layout = KernelMaps(old), libbpf.layout_of(content)
        present, state = pinned.layout(), instead or pinned.rules()
        if not related(present, layout):
            raise OtherVersionError
        # The rules are made anew for another version's programs.
        same = {name: fd for name, fd in old.items() if name != "config" or present == layout}
        room = {} if state.cluster else takeover.needed(state)
        with contextlib.closing(libbpf.Object(content, same, room)) as loaded:
            new = maps_of(loaded)
            takeover.refuse(state, old, new)
            yield Taking(loaded, old, new, state)


def _make(folder: Path) -> None:
    """Make a folder and those above it, of which another namespace may remove an empty one."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
