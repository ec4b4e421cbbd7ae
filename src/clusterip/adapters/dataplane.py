"""The maps of one interface: what the packet path reads, and what it counts (bpf/abi.h)."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from clusterip.adapters import abi, libbpf
from clusterip.adapters.abi import BucketState, Reason
from clusterip.core import limits
from clusterip.core.address import prefix_mask, words
from clusterip.core.compile import Tables, compile_tables
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.model import ServiceAction
from clusterip.core.state import InterfaceState, decode, encode

_GROUP_BYTES: Final = ctypes.sizeof(abi.Group)
_CONFIG_BYTES: Final = ctypes.sizeof(abi.Config)


@dataclass(frozen=True)
class Count:
    """What a rule has seen: packets by reason, and bytes of all of them."""

    packets: dict[Reason, int]
    bytes: int


class OtherVersionError(SystemFaultError):
    """What is pinned was laid out by another version of clusterip."""

    def __init__(self) -> None:
        super().__init__(
            "the rules in the kernel are of another version of clusterip",
            "`clusterip flush`, then add the rules again; that version's `-S` lists them",
        )


class Plane(Protocol):
    """The rules, buckets and counters of one interface."""

    def state(self) -> InterfaceState:
        """Return the rules in force."""

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force, all at once."""

    def states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all 256 buckets; element 0 is bucket 1."""

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket, 1..256."""

    def cells(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's cells, 64 bits; buckets are 1..256."""

    def set_cells(self, group: int, bucket: int, cells: int) -> None:
        """Set the mask of a bucket's cells, 64 bits; buckets are 1..256."""

    def deadline(self, group: int) -> int:
        """Return the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, CLOCK_BOOTTIME in ns, unless it is earlier already."""

    def follow(self, group: int, node: int, boot: int, ahead: int, slack: int) -> None:
        """Tell by how much, ns, the clock of that boot of a node is ahead of CLOCK_BOOTTIME.

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


def pack(state: InterfaceState) -> bytes:
    """Return struct ci_config for these rules; RefusedError where a limit is exceeded."""
    tables = compile_tables(state)
    config = abi.Config(abi_version=abi.ABI_VERSION, vip_seed=tables.vip_seed)
    config.vip_slot[:] = tables.vip_slots
    for at, vip in enumerate(tables.vips):
        sharing = vip.group.sharing
        config.vip[at] = abi.Vip(
            address_be=words(vip.group.vip),
            mask_be=prefix_mask(sharing.source_prefix6),
            hash_init=sharing.hash_init,
            total=sharing.total,
            mac=tuple(bytes(sharing.mac)),
            group=vip.group.index,
            version=vip.group.vip.version,
            table=tuple(vip.tables),
        )
    for at, content in enumerate(tables.tables):
        config.table[at].page[:] = array("H", content)
    for at, content in enumerate(tables.pages):
        config.page[at].service[:] = array("H", content)
    _pack_services(config, tables)
    document = encode(state)
    if len(document) > limits.DOCUMENT:
        raise RefusedError(
            f"the rules of {state.name} are too long to be recorded",
            "shorten their comments, or use fewer rules",
        )
    config.document_bytes = len(document)
    config.document[: len(document)] = document
    return bytes(config)


def _pack_services(config: abi.Config, tables: Tables) -> None:
    for at, service in enumerate(tables.services, start=1):
        condition = service.condition
        treatment = condition.treatment
        config.service[at] = abi.Service(
            source_be=int.from_bytes(condition.source.network_address.packed, "little"),
            mask_be=int.from_bytes(condition.source.netmask.packed, "little"),
            port_first=condition.ports[0],
            port_last=condition.ports[1],
            rule=condition.slot,
            next=service.following,
            flags=abi.SERVICE_ANY * condition.unconditional
            | abi.SERVICE_NOT_SOURCE * condition.negated,
            hashmode=abi.HASHMODES[treatment.mode],
            action=abi.ACTIONS[treatment.action],
            bucket=treatment.bucket - 1 if treatment.action is ServiceAction.SINGLE else 0,
        )


class MapPlane:
    """One interface's objects, by the descriptors of its maps.

    The descriptors belong to whoever made the plane.
    """

    def __init__(self, maps: dict[str, int]) -> None:
        self._maps = maps
        self._groups: dict[int, abi.Group] = {}

    def state(self) -> InterfaceState:
        """Return the rules in force."""
        config = self._config()
        if config.abi_version != abi.ABI_VERSION:
            raise OtherVersionError
        return decode(bytes(config.document[: config.document_bytes]))

    def _config(self) -> abi.Config:
        """Return the configuration in force; its version is 0 if its size is not ours."""
        while True:
            inner = int.from_bytes(libbpf.lookup(self._maps["config"], 0, 4), "little")
            with contextlib.suppress(FileNotFoundError), libbpf.map_by_id(inner) as fd:
                # What another version laid out would be read past the end of our buffer.
                if libbpf.map_info(fd).value_size != _CONFIG_BYTES:
                    return abi.Config()
                return abi.Config.from_buffer_copy(libbpf.lookup(fd, 0, _CONFIG_BYTES))
            # Swapped between the two look-ups: the next round finds the newer one.

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force, all at once."""
        content = pack(state)
        with libbpf.new_array(_CONFIG_BYTES) as fd:
            libbpf.update(fd, 0, content)
            libbpf.update(self._maps["config"], 0, fd.to_bytes(4, "little"))

    def _group(self, index: int) -> abi.Group:
        """Map the group's entry into memory: a store to it is seen by the next packet.

        It stays mapped for the life of the plane: a daemon stores many times a second.
        """
        known = self._groups.get(index)
        if known is not None:
            return known
        stride = -(-_GROUP_BYTES // 8) * 8
        length = -(-stride * limits.GROUPS // mmap.PAGESIZE) * mmap.PAGESIZE
        # Unmapped when the last reference to the structure goes.
        memory = mmap.mmap(self._maps["groups"], length)
        self._groups[index] = abi.Group.from_buffer(memory, index * stride)
        return self._groups[index]

    def states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all 256 buckets; element 0 is bucket 1."""
        return tuple(map(BucketState, self._group(group).state))

    def deadline(self, group: int) -> int:
        """Return the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""
        return int(self._group(group).deadline)

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket, 1..256."""
        self._group(group).state[bucket - 1] = state

    def cells(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's cells, 64 bits; buckets are 1..256."""
        return int(self._group(group).cells[bucket - 1])

    def set_cells(self, group: int, bucket: int, cells: int) -> None:
        """Set the mask of a bucket's cells, 64 bits; buckets are 1..256."""
        self._group(group).cells[bucket - 1] = cells

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline: CLOCK_BOOTTIME in ns, or abi.NO_DEADLINE."""
        self._group(group).deadline = deadline

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, CLOCK_BOOTTIME in ns, unless it is earlier already."""
        # Between the two a message may close it: the next does so again.
        if deadline < self.deadline(group):
            self.set_deadline(group, deadline)

    def follow(self, group: int, node: int, boot: int, ahead: int, slack: int) -> None:
        """Tell by how much, ns, the clock of that boot of a node is ahead of CLOCK_BOOTTIME."""
        content = bytes(abi.Peer(boot=boot, ahead=ahead, slack=slack, group=group))
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
        ctypes.memset(entry.cells, 0, ctypes.sizeof(entry.cells))
        self.zero_traffic(group)

    def zero_traffic(self, group: int) -> None:
        """Set the traffic counts of a group to zero."""
        size = ctypes.sizeof(abi.Traffic) * libbpf.possible_cpus()
        libbpf.update(self._maps["traffic"], group, bytes(size))

    def zero_rule(self, slot: int) -> None:
        """Set the counts of a rule to zero; slot 0 is for packets that no rule covers."""
        size = ctypes.sizeof(abi.Verdicts) * libbpf.possible_cpus()
        libbpf.update(self._maps["verdicts"], slot, bytes(size))

    def count(self, slot: int) -> Count:
        """Return what a rule has seen, summed over the CPUs."""
        cpus = libbpf.possible_cpus()
        size = ctypes.sizeof(abi.Verdicts) * cpus
        raw = libbpf.lookup(self._maps["verdicts"], slot, size)
        values = (abi.Verdicts * cpus).from_buffer_copy(raw)
        packets = {reason: sum(one.packets[reason] for one in values) for reason in Reason}
        return Count(packets, sum(one.bytes for one in values))

    def traffic(self, group: int) -> tuple[tuple[int, int], ...]:
        """Return packets and bytes of all 256 buckets, whoever answered them."""
        cpus = libbpf.possible_cpus()
        size = ctypes.sizeof(abi.Traffic) * cpus
        raw = libbpf.lookup(self._maps["traffic"], group, size)
        values = (abi.Traffic * cpus).from_buffer_copy(raw)
        return tuple(
            (
                sum(one.bucket[at].packets for one in values),
                sum(one.bucket[at].bytes for one in values),
            )
            for at in range(limits.BUCKETS)
        )


@dataclass
class FakePlane:
    """A plane in memory, for tests; it counts nothing."""

    rules: InterfaceState
    groups: dict[int, list[BucketState]] = field(default_factory=dict)
    deadlines: dict[int, int] = field(default_factory=dict)
    noted: dict[tuple[int, int], int] = field(default_factory=dict)
    """(Group, bucket) -> cells."""
    leads: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    """Node -> group, boot, lead and slack."""
    keys: dict[int, bytes] = field(default_factory=dict)
    """Key id -> the key of the tags."""

    def state(self) -> InterfaceState:
        """Return the rules in force."""
        return self.rules

    def commit(self, state: InterfaceState) -> None:
        """Put rules in force."""
        pack(state)
        self.rules = state

    def states(self, group: int) -> tuple[BucketState, ...]:
        """Return the states of all buckets."""
        return tuple(self.groups.get(group, [BucketState.NONE] * limits.BUCKETS))

    def set_bucket(self, group: int, bucket: int, state: BucketState) -> None:
        """Set the state of a bucket."""
        self.groups.setdefault(group, [BucketState.NONE] * limits.BUCKETS)[bucket - 1] = state

    def cells(self, group: int, bucket: int) -> int:
        """Return the mask of a bucket's cells."""
        return self.noted.get((group, bucket), 0)

    def set_cells(self, group: int, bucket: int, cells: int) -> None:
        """Set the mask of a bucket's cells."""
        self.noted[group, bucket] = cells

    def deadline(self, group: int) -> int:
        """Return the group's deadline."""
        return self.deadlines.get(group, 0)

    def set_deadline(self, group: int, deadline: int) -> None:
        """Set the group's deadline."""
        self.deadlines[group] = deadline

    def end_sooner(self, group: int, deadline: int) -> None:
        """Set the group's deadline, unless it is earlier already."""
        self.deadlines[group] = min(deadline, self.deadline(group))

    def follow(self, group: int, node: int, boot: int, ahead: int, slack: int) -> None:
        """Remember the lead of a clock."""
        self.leads[node] = group, boot, ahead, slack

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
