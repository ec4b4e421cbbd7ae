"""The maps of one interface: what the packet path reads, and what it counts (bpf/abi.h)."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import struct
import zlib
from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

import msgspec

from clusterip.adapters import abi, libbpf, libbpf_maps
from clusterip.adapters.abi import BucketState, Reason
from clusterip.adapters.packing import pack
from clusterip.core import limits
from clusterip.core.errors import SystemFaultError
from clusterip.core.packets.state import InterfaceState, Record, decode, decode_record, encode

_GROUP_BYTES: Final = ctypes.sizeof(abi.Group)
_CONFIG_BYTES: Final = ctypes.sizeof(abi.Config)
_OURS: Final = (abi.ABI_VERSION, abi.ABI_LOWEST)
_INNER_BYTES: Final = 4
"""A map of maps is read as the ids of those in it."""
_HEADER_BYTES: Final = abi.Config.vip_seed.offset
"""What struct ci_config has in common in every version."""


_Counters = TypeVar("_Counters", abi.Verdicts, abi.Traffic)


class Count(msgspec.Struct, frozen=True):
    """What a rule has seen: packets by reason, and bytes of all of them."""

    packets: dict[Reason, int]
    bytes: int


class OtherVersionError(SystemFaultError):
    """What is pinned was laid out by another version of clusterip, and cannot be read here."""

    def __init__(self) -> None:
        super().__init__(
            "the rules in the kernel are of another release of clusterip",
            "`clusterip flush`, then add the rules again; that version's `-S` lists them",
        )


def related(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Tell whether two layouts continue one another, by (version, lowest); see bpf/abi.h."""
    older, newer = sorted((one, other))
    return newer[1] <= older[0]


class InterfaceMaps(Protocol):
    """The rules, buckets and counters of one interface."""

    def rules(self) -> InterfaceState:
        """Return the rules in force."""

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force, all at once."""

    def bucket_states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all 256 buckets; element 0 is bucket 1."""

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket, 1..256."""

    def flow_slots(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's flow slots, 64 bits; buckets are 1..256."""

    def set_flow_slots(self, group: int, bucket: int, flow_slots: int) -> None:
        """Set the mask of a bucket's flow slots, 64 bits; buckets are 1..256."""

    def deadline(self, group: int) -> int:
        """Return the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, CLOCK_BOOTTIME in ns, unless it is earlier already."""

    def follow(self, group: int, node: int, incarnation: int, ahead: int, slack: int) -> None:
        """Tell by how much, ns, the clock of an incarnation of a node is ahead of ours.

        A message of it that shows the group's deadline to be over, or our clock to have stood
        still for `slack`, ns, closes the group.
        """

    def trust(self, keys: Mapping[int, bytes]) -> None:
        """Heed only messages with a tag under one of these keys of 16 bytes, by key id 0..255."""

    def clear_group(self, group: int) -> None:
        """Take all buckets and their traffic counts from a group; its deadline is passed."""

    def zero_traffic(self, group: int) -> None:
        """Set the traffic counts of a group to zero."""

    def zero_rule(self, slot: int) -> None:
        """Set the counts of a rule to zero; slot 0 is for packets that no rule covers."""

    def count(self, slot: int) -> Count:
        """Return what a rule has seen, summed over the CPUs."""

    def traffic(self, group: int) -> tuple[tuple[int, int], ...]:
        """Return packets and bytes of all 256 buckets, whoever answered them."""


class KernelMaps:
    """Those in the kernel, by their descriptors, which belong to whoever opened them."""

    def __init__(self, maps: dict[str, int]) -> None:
        self._maps = maps
        self._groups: dict[int, abi.Group] = {}

    def rules(self) -> InterfaceState:
        """Return the rules in force."""
        content, header = self._config()
        try:
            return decode(content[header.document_at :][: header.document_bytes])
        except (msgspec.DecodeError, zlib.error) as error:
            # It says what only a newer version can do.
            raise OtherVersionError from error

    def layout(self) -> tuple[int, int]:
        """Return the number of the layout of the maps, and the lowest that it continues."""
        _, header = self._config()
        return header.abi_version, header.abi_lowest

    def record(self) -> Record | None:
        """Return what any version recorded, None where nothing of it can be read."""
        content, header = self._content()
        return decode_record(content[header.document_at :][: header.document_bytes])

    def _config(self) -> tuple[bytes, abi.Config]:
        """Return the configuration in force, and of it what all versions have in common."""
        content, header = self._content()
        if not related((header.abi_version, header.abi_lowest), _OURS):
            raise OtherVersionError
        return content, header

    def _content(self) -> tuple[bytes, abi.Config]:
        """Return the same of any layout."""
        if libbpf.map_info(self._maps["config"]).value_size != _INNER_BYTES:
            raise OtherVersionError
        while True:
            inner = int.from_bytes(libbpf.lookup(self._maps["config"], 0, _INNER_BYTES), "little")
            with contextlib.suppress(FileNotFoundError), libbpf.map_by_id(inner) as fd:
                content = libbpf.lookup(fd, 0, libbpf.map_info(fd).value_size)
                return content, abi.Config.from_buffer_copy(content.ljust(_CONFIG_BYTES, b"\0"))
            # Swapped between the two look-ups: the next round finds the newer one.

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force, all at once.

        OtherVersionError where the maps are another version's, and more than the record changes;
        but that there are no rules can be said to every version.
        """
        content = self._packed(state)
        with libbpf.new_array(len(content)) as fd:
            libbpf.update(fd, 0, content)
            libbpf.update(self._maps["config"], 0, fd.to_bytes(4, "little"))

    def _packed(self, state: InterfaceState) -> bytes:
        try:
            content, header = self._config()
        except (OtherVersionError, FileNotFoundError):
            return pack(state)  # none yet: what the maps come with is 0
        if header.abi_version == abi.ABI_VERSION:
            return pack(state)
        present, document = self.rules(), encode(state)
        same = (present.groups, present.entries) == (state.groups, state.entries)
        none = not state.groups and not state.entries
        end = header.document_at + len(document)
        if not (same or none) or end > len(content):
            raise OtherVersionError
        # 0 is no rules, in whatever way they are laid out.
        changed = bytearray(content[: _HEADER_BYTES if none else None].ljust(len(content), b"\0"))
        changed[header.document_at : end] = document
        at = abi.Config.document_bytes.offset
        changed[at : at + 4] = len(document).to_bytes(4, "little")
        return bytes(changed)

    def _counters(self, name: str, key: int, kind: type[_Counters]) -> list[_Counters]:
        """Return what each CPU counted; what another version counts besides is left out."""
        return [
            kind.from_buffer_copy(one.ljust(ctypes.sizeof(kind), b"\0"))
            for one in libbpf_maps.lookup_counters(self._maps[name], key)
        ]

    def _seen(self, index: int) -> abi.Group:
        """Return the group's entry to read; 0 is what an older version's does not have."""
        if index in self._groups:
            return self._groups[index]
        size = libbpf.map_info(self._maps["groups"]).value_size
        if size >= _GROUP_BYTES:
            return self._group(index)
        content = libbpf.lookup(self._maps["groups"], index, size)
        return abi.Group.from_buffer_copy(content.ljust(_GROUP_BYTES, b"\0"))

    def _group(self, index: int) -> abi.Group:
        """Map the group's entry into memory: a store to it is seen by the next packet.

        It stays mapped for the life of the maps: a daemon stores many times a second.
        """
        known = self._groups.get(index)
        if known is not None:
            return known
        if libbpf.map_info(self._maps["groups"]).value_size < _GROUP_BYTES:
            raise OtherVersionError  # our fields would be the next entry's
        memory, at = self._memory(index)
        self._groups[index] = abi.Group.from_buffer(memory, at)
        return self._groups[index]

    def _memory(self, index: int) -> tuple[mmap.mmap, int]:
        """Map the groups into memory; returns where in it the group's entry is.

        Unmapped when the last reference to it goes, or to what was made of it.
        """
        info = libbpf.map_info(self._maps["groups"])
        stride = -(-info.value_size // 8) * 8
        length = -(-stride * info.max_entries // mmap.PAGESIZE) * mmap.PAGESIZE
        return mmap.mmap(self._maps["groups"], length), index * stride

    def bucket_states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all 256 buckets; element 0 is bucket 1."""
        return tuple(map(BucketState, self._seen(group).state))

    def deadline(self, group: int) -> int:
        """Return the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""
        return int(self._seen(group).deadline)

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket, 1..256."""
        self._group(group).state[bucket - 1] = state

    def flow_slots(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's flow slots, 64 bits; buckets are 1..256."""
        return int(self._seen(group).flow_slots[bucket - 1])

    def set_flow_slots(self, group: int, bucket: int, flow_slots: int) -> None:
        """Set the mask of a bucket's flow slots, 64 bits; buckets are 1..256."""
        self._group(group).flow_slots[bucket - 1] = flow_slots

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""
        self._group(group).deadline = deadline

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, CLOCK_BOOTTIME in ns, unless it is earlier already."""
        # Between the two a message may close it: the next does so again.
        if deadline < self.deadline(group):
            try:
                self.set_deadline(group, deadline)
            except OtherVersionError:  # entries are shorter; the deadline is the first in all
                memory, at = self._memory(group)
                ctypes.c_uint64.from_buffer(memory, at).value = deadline

    def follow(self, group: int, node: int, incarnation: int, ahead: int, slack: int) -> None:
        """Tell by how much, ns, the clock of an incarnation of a node is ahead of ours."""
        content = bytes(abi.Peer(incarnation=incarnation, ahead=ahead, slack=slack, group=group))
        libbpf.update(self._maps["peers"], node, content, key_bytes=8)

    def trust(self, keys: Mapping[int, bytes]) -> None:
        """Heed only messages with a tag under one of these keys of 16 bytes, by key id 0..255."""
        content = abi.Keys()
        for number, key in keys.items():
            content.word[number][:] = struct.unpack("<QQ", key)
            content.known[number] = 1
        libbpf.update(self._maps["keys"], 0, bytes(content))

    def clear_group(self, group: int) -> None:
        """Take all buckets and their traffic counts from a group; its deadline is passed."""
        entry = self._group(group)
        entry.deadline = 0
        ctypes.memset(entry.state, BucketState.NONE, limits.BUCKETS)
        ctypes.memset(entry.flow_slots, 0, ctypes.sizeof(entry.flow_slots))
        self.zero_traffic(group)

    def zero_traffic(self, group: int) -> None:
        """Set the traffic counts of a group to zero."""
        libbpf_maps.zero_counters(self._maps["traffic"], group)

    def zero_rule(self, slot: int) -> None:
        """Set the counts of a rule to zero; slot 0 is for packets that no rule covers."""
        libbpf_maps.zero_counters(self._maps["verdicts"], slot)

    def count(self, slot: int) -> Count:
        """Return what a rule has seen, summed over the CPUs."""
        values = self._counters("verdicts", slot, abi.Verdicts)
        packets = {reason: sum(one.packets[reason] for one in values) for reason in Reason}
        return Count(packets, sum(one.bytes for one in values))

    def traffic(self, group: int) -> tuple[tuple[int, int], ...]:
        """Return packets and bytes of all 256 buckets, whoever answered them."""
        values = self._counters("traffic", group, abi.Traffic)
        return tuple(
            (
                sum(one.bucket[at].packets for one in values),
                sum(one.bucket[at].bytes for one in values),
            )
            for at in range(limits.BUCKETS)
        )


class FakeMaps(msgspec.Struct):
    """Maps in memory, for tests; they count nothing."""

    in_force: InterfaceState
    groups: dict[int, list[BucketState]] = msgspec.field(default_factory=dict)
    deadlines: dict[int, int] = msgspec.field(default_factory=dict)
    noted: dict[tuple[int, int], int] = msgspec.field(default_factory=dict)
    """(Group, bucket) -> flow slots."""
    leads: dict[int, tuple[int, int, int, int]] = msgspec.field(default_factory=dict)
    """Node -> group, incarnation, lead and slack."""
    keys: dict[int, bytes] = msgspec.field(default_factory=dict)
    """Key id -> the key of the tags."""
    foreign: bool = False
    """Whether it is laid out by another version."""

    def rules(self) -> InterfaceState:
        """Return the rules in force."""
        return self.in_force

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force."""
        pack(state)
        same = (self.in_force.groups, self.in_force.entries) == (state.groups, state.entries)
        if self.foreign and not same and (state.groups or state.entries):
            raise OtherVersionError
        self.in_force = state

    def bucket_states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all buckets."""
        return tuple(self.groups.get(group, [BucketState.NONE] * limits.BUCKETS))

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket."""
        self.groups.setdefault(group, [BucketState.NONE] * limits.BUCKETS)[bucket - 1] = state

    def flow_slots(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's flow slots."""
        return self.noted.get((group, bucket), 0)

    def set_flow_slots(self, group: int, bucket: int, flow_slots: int) -> None:
        """Set the mask of a bucket's flow slots."""
        self.noted[group, bucket] = flow_slots

    def deadline(self, group: int) -> int:
        """Return the group's deadline."""
        return self.deadlines.get(group, 0)

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline."""
        self.deadlines[group] = deadline

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, unless it is earlier already."""
        self.deadlines[group] = min(deadline, self.deadline(group))

    def follow(self, group: int, node: int, incarnation: int, ahead: int, slack: int) -> None:
        """Remember the lead of a clock."""
        self.leads[node] = group, incarnation, ahead, slack

    def trust(self, keys: Mapping[int, bytes]) -> None:
        """Remember the keys."""
        self.keys = dict(keys)

    def clear_group(self, group: int) -> None:
        """Take all buckets from a group."""
        self.groups.pop(group, None)
        self.deadlines.pop(group, None)

    def zero_traffic(self, group: int) -> None:
        """Count nothing, so forget nothing."""

    def zero_rule(self, slot: int) -> None:
        """Count nothing, so forget nothing."""

    def count(self, slot: int) -> Count:
        """Return zeros."""
        del slot
        return Count(dict.fromkeys(Reason, 0), 0)

    def traffic(self, group: int) -> tuple[tuple[int, int], ...]:
        """Return zeros."""
        del group
        return ((0, 0),) * limits.BUCKETS
