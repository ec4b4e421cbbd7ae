"""Programs with maps of another layout take the place of those before, while packets come.

A map that is laid out as before is used on, by the old and the new programs at once. Of another the
common beginning is copied; bpf/abi.h says what of a layout may change. The old maps are written
meanwhile, by the old programs alone: who takes over has the lock, and no daemon lives. So the order
is (`MapsByInterface` pins, `runtime.change` attaches):

1. `refuse`: nothing has happened yet.
2. `copy`: the new maps are filled aside. Nobody reads them.
3. The pins are exchanged in one step: from now on commands find the new ones, and beside them what
   was there, which says that this is not over. Killed before, nothing has happened; killed later,
   the next change goes on with 4. Old and new hold the same buckets until the same deadlines, so
   whichever judges a packet, at any hook, judges it alike.
4. The new `heed` listens at tc ingress, beside the old program: a message that shows our lease to
   be over, or our clock to have stood still, closes the old groups and the new ones. Then `level`,
   once no program runs that began before: what had been closed until then is closed in the new
   ones. Nobody raises a deadline meanwhile, so the new ones are never later than the old.
5. Each new program is put in the place of the old one, in one step: no packet goes past both. From
   tc ingress on, the new groups alone say who answers, and they are as closed as the old ones.
6. `follow`, once no old program runs: what the old maps got since the copy is brought after. A
   program does that for counters and flow slots, in one instruction each on the processor where it
   runs, so that nothing is lost of what is counted meanwhile.
7. The old pins go, and with them the old maps.

A kill between 3 and 6 loses the counts of that moment, some milliseconds, and no more.

Rules that are to go need none of this: every layout can be told that there are no rules
(`InterfaceMaps.commit`). Where there are more than fit, those that a change leaves of them are
taken over in their place, with all their VIPs: between 3 and 5 packets of a rule that goes are
judged by it or dropped.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from clusterip.adapters import abi, libbpf, libbpf_maps
from clusterip.adapters.abi import Carry
from clusterip.adapters.kernel_maps import KernelMaps, OtherVersionError
from clusterip.core import limits
from clusterip.core.errors import RefusedError
from clusterip.core.packets.state import InterfaceState

Maps = dict[str, int]
"""Descriptors by the names of their pins."""
_COUNTERS: Final = {"verdicts": Carry.VERDICTS, "traffic": Carry.TRAFFIC}
_ARRAYS: Final = ("groups", "keys")
_HASHES: Final = ("peers", "fragments", "openings", "own_openings")


class Copied(msgspec.Struct, frozen=True):
    """What was copied, to tell what comes later from it."""

    counters: dict[str, list[list[bytes]]] = msgspec.field(default_factory=dict)
    """By map and key, what each CPU had."""
    hashes: dict[str, dict[bytes, bytes]] = msgspec.field(default_factory=dict)


class NoRoomError(RefusedError):
    """The rules are more than this installation can have in its maps."""


def no_room(state: InterfaceState, reason: str = "") -> NoRoomError:
    """Return what is to be raised; the reason is that of one limit."""
    return NoRoomError(
        f"the rules of {state.name} are more than the installed release has room for"
        + (f": {reason}" if reason else ""),
        "delete some with the version that added them; or all: clusterip flush",
    )


def needed(state: InterfaceState) -> dict[str, int]:
    """Return how many entries of which maps rules need, in the places that they have.

    Programs make do with more than they come with. Of a daemon's rules their file says how many
    there may be, and another file comes with another number.
    """
    slots = max((entry.slot for entry in state.entries), default=0)
    groups = max((group.index for group in state.groups), default=0)
    return {"verdicts": slots + 1, "groups": groups + 1, "traffic": groups + 1}


def refuse(state: InterfaceState, old: Maps, new: Maps) -> None:
    """Raise what keeps `new` from taking over what `old` holds with these rules."""
    for name in _changed(old, new):
        one, other = (libbpf.map_info(maps[name]) for maps in (old, new))
        if (one.type, one.key_size) != (other.type, other.key_size):
            raise OtherVersionError
    for name, entries in needed(state).items():
        if entries > libbpf.map_info(new[name]).max_entries:
            raise no_room(state)


def copy(old: Maps, new: Maps) -> Copied:
    """Fill maps that nobody reads yet; those that are the same have it all. Returns what it was."""
    copied, changed = Copied(), _changed(old, new)
    for name in _ARRAYS:
        if name in changed:
            size = libbpf.map_info(new[name]).value_size
            for key, value in enumerate(_values(old[name], new[name])):
                libbpf.update(new[name], key, _fit(value, size))
    for name in _COUNTERS:
        if name in changed:
            size, values = libbpf.map_info(new[name]).value_size, _counters(old[name], new[name])
            copied.counters[name] = values
            for key, each in enumerate(values):
                libbpf.update(new[name], key, b"".join(_fit(one, size) for one in each))
    for name in _HASHES:
        if name in changed:
            copied.hashes[name] = libbpf_maps.entries(old[name])
            size = libbpf.map_info(new[name]).value_size
            for entry, value in copied.hashes[name].items():
                libbpf_maps.put(new[name], entry, _fit(value, size))
    return copied


def level(old: Maps, new: Maps) -> None:
    """Close in `new` what is closed in `old`, once no program runs that began before."""
    if "groups" not in _changed(old, new):
        return
    libbpf.wait_for_programs(new["config"])
    one, other = KernelMaps(old), KernelMaps(new)
    for group in range(_common(old["groups"], new["groups"])):
        other.end_sooner(group, one.deadline(group))


def follow(old: Maps, new: Maps, carry: int, copied: Copied) -> None:
    """Bring after what `old` got since it was copied; no old program is attached any more.

    `carry` is the new program of that name.
    """
    libbpf.wait_for_programs(new["config"])
    changed = _changed(old, new)
    for name, kind in _COUNTERS.items():
        for key, before in enumerate(copied.counters.get(name, ())):
            now = libbpf_maps.lookup_counters(old[name], key)
            if now != before:
                for word, by in _added(before, now):
                    _carry(carry, kind, key, word, by)
    if "groups" in changed:
        _follow_flow_slots(old, new, carry)
    for name in _HASHES:
        if name in changed:
            _follow_hash(old[name], new[name], copied.hashes.get(name, {}))


def _follow_flow_slots(old: Maps, new: Maps, carry: int) -> None:
    one, other = KernelMaps(old), KernelMaps(new)
    for group in range(_common(old["groups"], new["groups"])):
        for bucket in range(1, limits.BUCKETS + 1):
            more = one.flow_slots(group, bucket) & ~other.flow_slots(group, bucket)
            if more:
                _carry(carry, Carry.FLOW_SLOTS, group, bucket - 1, more)


def _follow_hash(old: int, new: int, before: Mapping[bytes, bytes]) -> None:
    """Bring after what changed in `old`, but for what changed in `new` as well."""
    size = libbpf.map_info(new).value_size

    def fit(value: bytes | None) -> bytes | None:
        return None if value is None else _fit(value, size)

    now = libbpf_maps.entries(old)
    for key in before.keys() | now.keys():
        was, is_now = before.get(key), now.get(key)
        if was != is_now and libbpf_maps.get(new, key, size) == fit(was):
            libbpf_maps.put(new, key, fit(is_now))


def _carry(program: int, kind: Carry, key: int, word: int, by: int) -> None:
    frame = bytes(abi.Carried(map=kind, key=key, word=word, by=by))
    libbpf.run_program(program, frame)


def _added(before: list[bytes], now: list[bytes]) -> Iterator[tuple[int, int]]:
    """Yield which words became more, and by how much, on all CPUs together."""
    words = struct.Struct(f"<{len(now[0]) // ctypes.sizeof(ctypes.c_uint64)}Q")
    totals = ([sum(each) for each in zip(*map(words.unpack, one))] for one in (before, now))  # noqa: B905
    for word, (was, is_now) in enumerate(zip(*totals, strict=True)):
        if was != is_now:
            yield word, is_now - was


def _changed(old: Maps, new: Maps) -> frozenset[str]:
    """Return which of the maps of both are not the same one."""
    return frozenset(
        name
        for name in old.keys() & new.keys()
        if libbpf.map_info(old[name]).id != libbpf.map_info(new[name]).id
    )


def _common(old: int, new: int) -> int:
    """Return how many entries two arrays both have."""
    return min(int(libbpf.map_info(fd).max_entries) for fd in (old, new))


def _values(old: int, new: int) -> list[bytes]:
    size = libbpf.map_info(old).value_size
    return [libbpf.lookup(old, key, size) for key in range(_common(old, new))]


def _counters(old: int, new: int) -> list[list[bytes]]:
    return [libbpf_maps.lookup_counters(old, key) for key in range(_common(old, new))]


def _fit(value: bytes, size: int) -> bytes:
    """Return what a value has in common with one of another size, and 0 behind it."""
    return value[:size].ljust(size, b"\0")
