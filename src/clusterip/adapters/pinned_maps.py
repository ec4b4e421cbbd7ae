"""The maps of one network namespace: a folder in bpffs, and in it one for each interface.

The folder of an interface is named after its ifindex. It is built aside and renamed into place,
so it is complete or absent. Where another installation's programs take over, it is exchanged for
theirs in one step, and stays beside them until they run.

Pins are for other processes and for successors. A daemon keeps what it shares open, and goes by
that: whoever takes the pins away, or the whole bpffs, takes nothing from it, and it pins anew.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from clusterip.adapters import abi, bpffs, libbpf, pins, plainfiles, takeover
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.hooks import Programs
from clusterip.adapters.kernel_maps import FakeMaps, InterfaceMaps, KernelMaps, OtherVersionError
from clusterip.core import limits
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import InterfaceState, Record, decode_record, encode

_ASIDE: Final = "new-"
_OTHER: Final = "other-"
"""Before the ifindex: what was pinned for an interface and may run there still, see `takeover`."""


class MapsByInterface(Protocol):
    """The maps there are, of all interfaces."""

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices of the interfaces that have maps."""

    def create(self, state: InterfaceState) -> None:
        """Load the programs and pin everything, with `state` in force; nothing runs yet."""

    def open(self, index: int) -> AbstractContextManager[InterfaceMaps]:
        """Open the maps of an interface for as long as the context lasts."""

    def programs(self, index: int) -> AbstractContextManager[Programs]:
        """Open the programs of an interface for as long as the context lasts."""

    def renew(self, index: int, instead: InterfaceState | None = None) -> bool:
        """Pin this installation's programs in place of another's, with what the maps hold.

        `instead` are rules to be in force from then on, all of which are in force now. Says
        whether there was something to do. If so the interface lags behind until the caller
        has called `level`, attached them, and called `settle`. Where it cannot be nothing
        happened: OtherVersionError, NoRoomError or OSError.
        """

    def lags(self, index: int) -> bool:
        """Tell whether the programs of an earlier installation may run beside those pinned."""

    def level(self, index: int) -> None:
        """Close what they closed meanwhile; from now on a listener is to see what they see."""

    def settle(self, index: int) -> None:
        """Have all that they counted and noted, and forget them; they are not attached."""

    def fits(self, index: int) -> bool:
        """Tell whether the maps are laid out as this installation's."""

    def record(self, index: int) -> Record | None:
        """Return what any version recorded of an interface, None where nothing can be read."""

    def try_renewing(self, index: int) -> None:
        """Have the kernel verify what `renew` would pin, as it is installed now; pin nothing."""

    def keep(self, index: int) -> None:
        """Hold the maps of an interface open until it is removed, and go by what is open.

        From then on it is there for this process, whatever becomes of the pins.
        """

    def is_pinned(self, index: int) -> bool:
        """Tell whether the pins of what is kept are what they were, and can be changed."""

    def is_found(self) -> bool:
        """Tell whether a process that begins now in place of this one finds the same maps."""

    def pin(self, index: int) -> None:
        """Pin what is kept anew, in place of what is there now; OSError where it cannot be.

        bpffs is mounted where it is no more: SystemFaultError where that cannot be.
        """

    def remove(self, index: int) -> None:
        """Unpin everything of an interface, at once; what is attached goes on running."""

    def sweep(self) -> None:
        """Remove what interrupted commands left behind, and folders that are empty."""


class _Kept(msgspec.Struct):
    """What a process holds open of an interface: descriptors by the names of their pins."""

    descriptors: dict[str, int]
    programs: dict[str, int]
    inodes: list[tuple[int, int]]
    """What tells its pins from all others."""
    close: Callable[[], None]


class PinnedMaps:
    """Those of one network namespace: a folder in bpffs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[int, _Kept] = {}
        self._copied: dict[int, takeover.Copied] = {}

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices of the interfaces that have maps."""
        found = set(self._kept)
        if self._folder.is_dir():
            names = (entry.name for entry in self._folder.iterdir())
            found |= {int(name) for name in names if name.isdigit()}
        return tuple(sorted(found))

    def create(self, state: InterfaceState) -> None:
        """Load the programs and pin everything, with `state` in force; nothing runs yet."""
        loaded = libbpf.Object(object_content())
        try:
            descriptors = pins.maps_of(loaded)
            KernelMaps(descriptors).commit(state)
            self._pin(state.index, descriptors | pins.programs_of(loaded))
        finally:
            loaded.close()

    def _pin(self, index: int, objects: dict[str, int]) -> None:
        """Pin objects, by the names of their pins; what is there in their place goes."""
        folder, place = self._aside(index), self._folder / str(index)
        try:
            pins.fill(folder, objects)
            if os.path.lexists(place):
                place.rename(self._aside(index, "old-"))
            folder.rename(place)
        finally:
            self.sweep()

    def _aside(self, index: int, more: str = "") -> Path:
        return self._folder / f"{_ASIDE}{more}{index}-{os.getpid()}"

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[InterfaceMaps]:
        """Open the maps of an interface for as long as the context lasts."""
        if index in self._kept:
            yield KernelMaps(self._kept[index].descriptors)
            return
        with pins.maps(self._folder / str(index)) as descriptors:
            yield KernelMaps(descriptors)

    @contextlib.contextmanager
    def programs(self, index: int) -> Iterator[Programs]:
        """Open the programs of an interface for as long as the context lasts."""
        if index in self._kept:
            yield pins.named(self._kept[index].programs)
            return
        with pins.programs(self._folder / str(index)) as programs:
            yield pins.named(programs)

    def renew(self, index: int, instead: InterfaceState | None = None) -> bool:
        """Pin this installation's programs in place of another's; see `MapsByInterface.renew`."""
        folder, other, aside = self._folder / str(index), self._other(index), self._aside(index)
        if index in self._kept or pins.are_of(folder, object_content()):
            return False
        with pins.taking_over(folder, object_content(), instead) as (loaded, old, new, state):
            if libbpf.map_info(old["config"]).id != libbpf.map_info(new["config"]).id:
                try:
                    KernelMaps(new).commit(state)
                except RefusedError as error:
                    raise takeover.no_room(state, error.message) from error
            copied = takeover.copy(old, new)
            try:
                pins.fill(aside, new | pins.programs_of(loaded))
                aside.rename(other)
            finally:
                self.sweep()
        plainfiles.exchange(other, folder)
        self._copied[index] = copied
        return True

    def _other(self, index: int) -> Path:
        return self._folder / f"{_OTHER}{index}"

    def lags(self, index: int) -> bool:
        """Tell whether the programs of an earlier installation may run beside those pinned."""
        return self._other(index).is_dir()

    def level(self, index: int) -> None:
        """Close what they closed meanwhile; see `MapsByInterface.level`."""
        with pins.maps(self._other(index)) as old, pins.maps(self._folder / str(index)) as new:
            takeover.level(old, new)

    def settle(self, index: int) -> None:
        """Have all that they counted and noted, and forget them; they are not attached."""
        folder, other = self._folder / str(index), self._other(index)
        with (
            pins.maps(other) as old,
            pins.maps(folder) as new,
            libbpf.pinned(str(folder / "carry")) as carry,
        ):
            takeover.follow(old, new, carry, self._copied.pop(index, takeover.Copied()))
        other.rename(self._aside(index, "old-"))
        self.sweep()

    def fits(self, index: int) -> bool:
        """Tell whether the maps are laid out as this installation's."""
        if index in self._kept:
            return True
        with pins.maps(self._folder / str(index)) as descriptors:
            return KernelMaps(descriptors).layout() == (abi.ABI_VERSION, abi.ABI_LOWEST)

    def record(self, index: int) -> Record | None:
        """Return what any version recorded of an interface, None where nothing can be read."""
        folder = self._folder / str(index)
        with contextlib.suppress(OtherVersionError, OSError), pins.maps(folder) as descriptors:
            return KernelMaps(descriptors).record()
        return None

    def try_renewing(self, index: int) -> None:
        """Have the kernel verify what `renew` would pin; see `MapsByInterface.try_renewing`."""
        # Not the origin that is kept: who asks may run since before an upgrade.
        content, folder = object_content(), self._folder / str(index)
        if not pins.are_of(folder, content):
            with pins.taking_over(folder, content):
                pass

    def keep(self, index: int) -> None:
        """Hold the maps of an interface open until it is removed; see `MapsByInterface.keep`."""
        folder = self._folder / str(index)
        with contextlib.ExitStack() as stack:
            descriptors = stack.enter_context(pins.maps(folder))
            programs = stack.enter_context(pins.programs(folder))
            inodes = pins.inodes(folder)
            self._kept[index] = _Kept(descriptors, programs, inodes, stack.pop_all().close)

    def is_pinned(self, index: int) -> bool:
        """Tell whether the pins of what is kept are what they were; see the protocol."""
        folder = self._folder / str(index)
        with contextlib.suppress(OSError):
            return os.access(folder, os.W_OK) and pins.inodes(folder) == self._kept[index].inodes
        return False

    def is_found(self) -> bool:
        """Tell whether a successor finds the same maps; see `MapsByInterface.is_found`."""
        return bpffs.is_found(self._folder)

    def pin(self, index: int) -> None:
        """Pin what is kept anew, in place of what is there now; see `MapsByInterface.pin`."""
        kept = self._kept[index]
        self._folder = bpffs.found_again(self._folder)
        self._pin(index, kept.descriptors | kept.programs)
        kept.inodes = pins.inodes(self._folder / str(index))

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
            of = entry.name.removeprefix(_OTHER)
            alone = of != entry.name and not (self._folder / of).is_dir()
            if not entry.name.startswith(_ASIDE) and not alone:
                continue
            if entry.is_dir() and not entry.is_symlink():
                import shutil  # noqa: PLC0415 - hardly ever needed

                shutil.rmtree(entry)
            else:  # what somebody put in the place of a folder
                entry.unlink()
        for folder in (self._folder, self._folder.parent):
            with contextlib.suppress(OSError):  # not empty: in use
                folder.rmdir()


class FakePinnedMaps(msgspec.Struct):
    """Maps in memory, for tests."""

    by_index: dict[int, FakeMaps] = msgspec.field(default_factory=dict)
    outdated: set[int] = msgspec.field(default_factory=set)
    """Where the programs, and the maps, are of another installation."""
    unreadable: set[int] = msgspec.field(default_factory=set)
    """Where nothing but the record can be read."""
    unrecorded: set[int] = msgspec.field(default_factory=set)
    """Where that cannot, either."""
    room: int = limits.RULES
    """How many rules of another installation are taken over."""
    lagging: set[int] = msgspec.field(default_factory=set)
    """Where such programs may run beside those that are pinned."""
    found: bool = True
    """Whether a successor finds them."""

    def indices(self) -> tuple[int, ...]:
        """Return the ifindices of the interfaces that have maps."""
        return tuple(sorted(self.by_index))

    def create(self, state: InterfaceState) -> None:
        """Make maps."""
        self.by_index[state.index] = FakeMaps(state)

    @contextlib.contextmanager
    def open(self, index: int) -> Iterator[InterfaceMaps]:
        """Give those of an interface."""
        if index not in self.by_index:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if index in self.unreadable:
            raise OtherVersionError
        self.by_index[index].foreign = index in self.outdated
        yield self.by_index[index]

    @contextlib.contextmanager
    def programs(self, index: int) -> Iterator[Programs]:
        """Give descriptors that are none."""
        del index
        yield pins.named({})

    def renew(self, index: int, instead: InterfaceState | None = None) -> bool:
        """Take over from another installation where there was one."""
        if index not in self.outdated:
            return False
        state = instead or self.by_index[index].in_force
        if len(state.entries) > self.room:
            raise takeover.no_room(state)
        self.by_index[index].in_force = state
        self.outdated.discard(index)
        self.lagging.add(index)
        return True

    def lags(self, index: int) -> bool:
        """Tell whether programs of another installation may run."""
        return index in self.lagging

    def level(self, index: int) -> None:
        """Close nothing: nobody else did."""

    def settle(self, index: int) -> None:
        """Forget the programs of another installation."""
        self.lagging.discard(index)

    def fits(self, index: int) -> bool:
        """Tell whether the maps are this installation's."""
        return index not in self.outdated

    def record(self, index: int) -> Record | None:
        """Return what was recorded."""
        if index in self.unrecorded or index not in self.by_index:
            return None
        return decode_record(encode(self.by_index[index].in_force))

    def try_renewing(self, index: int) -> None:
        """Have no programs, so none that the kernel refuses."""

    def keep(self, index: int) -> None:
        """Have nothing that could be taken away."""

    def is_pinned(self, index: int) -> bool:
        """Tell whether there are any."""
        return index in self.by_index

    def is_found(self) -> bool:
        """Tell what a test says."""
        return self.found

    def pin(self, index: int) -> None:
        """Have nothing that could be pinned."""

    def remove(self, index: int) -> None:
        """Forget them."""
        del self.by_index[index]
        self.unreadable.discard(index)
        self.unrecorded.discard(index)
        self.outdated.discard(index)
        self.lagging.discard(index)

    def sweep(self) -> None:
        """Leave nothing behind, so find nothing."""
