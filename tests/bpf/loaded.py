"""The real programs in the kernel, unpinned and unattached, to be run on single frames."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from clusterip.adapters import libbpf
from clusterip.adapters.abi import NO_DEADLINE, Reason
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.kernel_maps import KernelMaps
from clusterip.adapters.libbpf_types import TestRunOptions
from clusterip.core.packets.state import InterfaceState
from tests.bpf.reference import UNTOUCHED, Decision, Socket, World

TC_ACT_UNSPEC = 0xFFFFFFFF
TC_ACT_SHOT = 2
TC_ACT_STOLEN = 4
XDP_DROP = 1
XDP_PASS = 2
SHORTEST_IPV6 = 14 + 40
_FRAGMENT_KEY = 40
_ENDS = struct.Struct("16s16s2s2sB3x")  # struct ci_ends
_WHOSE = {1: "theirs", 2: "half-open", 3: "ours", 4: "alone"}  # enum ci_whose

_libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
for _name in ("get_next_key", "lookup_elem", "update_elem", "delete_elem"):
    getattr(_libbpf, f"bpf_map_{_name}").restype = ctypes.c_int


class Program:
    """A program that is run on frames (BPF_PROG_TEST_RUN); made once for hundreds of thousands."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._options = TestRunOptions()
        self._at = ctypes.byref(self._options)
        self._in = ctypes.create_string_buffer(1 << 16)
        self._out = ctypes.create_string_buffer(1 << 16)
        self._options.data_in = ctypes.addressof(self._in)

    def verdict(self, frame: bytes) -> int:
        """Return what the program returns."""
        return self._run(frame, None, 0)

    def changed(self, frame: bytes) -> tuple[int, bytes]:
        """Return that, and the frame as the program left it."""
        verdict = self._run(frame, ctypes.addressof(self._out), len(self._out))
        return verdict, self._out.raw[: self._options.data_size_out]

    def _run(self, frame: bytes, out: int | None, size: int) -> int:
        options = self._options
        ctypes.memmove(self._in, frame, len(frame))
        options.data_size_in = len(frame)
        # The kernel writes the size of the frame there, whether it was asked for it or not.
        options.data_out, options.data_size_out = out, size
        if _libbpf.bpf_prog_test_run_opts(self.fd, self._at) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return int(options.retval)


@dataclass(frozen=True)
class Counted:
    """All that the programs count, by what it is counted under."""

    verdicts: Counter[tuple[int, Reason]]
    bytes: Counter[int]
    buckets: Counter[tuple[int, int]]
    bucket_bytes: Counter[tuple[int, int]]


def nothing() -> Counted:
    return Counted(Counter(), Counter(), Counter(), Counter())


def tally(counted: Counted, decision: Decision, size: int) -> None:
    """Count a decision as the programs should."""
    if decision == UNTOUCHED or decision.reason is None:
        return
    counted.verdicts[decision.slot, decision.reason] += 1
    counted.bytes[decision.slot] += size
    if decision.place is not None:
        counted.buckets[decision.place] += 1
        counted.bucket_bytes[decision.place] += size


class Loaded:
    """The object, and its maps as an interface has them."""

    def __init__(self, content: bytes | None = None) -> None:
        """Load the object, or another one that has the same maps and programs."""
        self._object = libbpf.Object(object_content() if content is None else content)
        self.maps = KernelMaps(
            {
                name: self._object.map_fd(name)
                for name in ("config", "groups", "verdicts", "traffic", "peers", "keys")
            }
        )
        self._fragments = self._object.map_fd("fragments")
        self._openings = self._object.map_fd("openings")
        self._own_openings = self._object.map_fd("own_openings")
        self.programs = tuple(
            Program(self._object.program_fd(f"clusterip_{name}"))
            for name in ("ingress", "egress", "xdp")
        )
        self._ingress, self._egress, self._xdp = self.programs
        self.guard_ingress, self.guard_egress = (
            Program(self._object.program_fd(f"clusterip_guard_{side}"))
            for side in ("ingress", "egress")
        )
        self.heed, self.carry = (
            Program(self._object.program_fd(f"clusterip_{name}")) for name in ("heed", "carry")
        )

    def close(self) -> None:
        self._object.close()

    def put(self, world: World) -> None:
        """Make the kernel's world the same as the reference's, with all counters at zero."""
        for whole in self.noted():
            _libbpf.bpf_map_delete_elem(self._fragments, whole)
        for table in (self._openings, self._own_openings):
            for one in list(_keys(table, _ENDS.size)):
                _libbpf.bpf_map_delete_elem(table, one)
        self.open(world.openings)
        self.maps.commit(world.rules)
        for table in {group.index for group in world.rules.groups}:
            self.maps.clear_group(table)
            for number, state in enumerate(world.buckets.get(table, ()), start=1):
                if state:
                    self.maps.set_bucket(table, number, state)
                    self.maps.set_flow_slots(
                        table, number, world.flow_slots.get((table, number - 1), 0)
                    )
            self.maps.set_deadline(table, world.deadlines.get(table, NO_DEADLINE))
        for slot in self._slots(world.rules):
            self.maps.zero_rule(slot)

    @staticmethod
    def _slots(rules: InterfaceState) -> set[int]:
        return {0, *(entry.slot for entry in rules.entries)}

    def ingress(self, frame: bytes) -> int | None:
        """Return the verdict of tc; None for a frame that BPF_PROG_TEST_RUN itself refuses.

        It makes no skb of an IP header cut short. XDP gets these frames all the same, and its
        verdict is the same function.
        """
        try:
            return self._ingress.verdict(frame)
        except OSError as error:
            if error.errno == errno.EINVAL and len(frame) < SHORTEST_IPV6:
                return None
            raise

    def xdp(self, frame: bytes) -> int:
        return self._xdp.verdict(frame)

    def egress(self, frame: bytes) -> tuple[int, bytes]:
        return self._egress.changed(frame)

    def noted(self) -> dict[bytes, bool]:
        """Return what the kernel knows of first fragments, as `World.firsts` has it."""
        return {key: bool(dropped) for key, (_, dropped) in self.fragments()}

    def open(self, openings: Mapping[Socket, str]) -> None:
        """Add to what the kernel knows of openings."""
        numbers = {name: number for number, name in _WHOSE.items()}
        for ends, whose in openings.items():
            key, value = _packed(ends), ctypes.c_uint32(numbers[whose])
            table = self._own_openings if whose in {"ours", "alone"} else self._openings
            found = _libbpf.bpf_map_update_elem(table, key, ctypes.byref(value), ctypes.c_uint64(0))
            assert found == 0

    def openings(self) -> dict[Socket, str]:
        """Return what the kernel knows of whose connections are, as `World.openings` has it."""
        known = {}
        # What is in both is what the first says.
        for table in (self._own_openings, self._openings):
            for key in list(_keys(table, _ENDS.size)):
                value = ctypes.c_uint32()
                if _libbpf.bpf_map_lookup_elem(table, key, ctypes.byref(value)) == 0:
                    known[_unpacked(key)] = _WHOSE[value.value]
        return known

    def age(self, nanoseconds: int) -> None:
        """Make all that is known of first fragments that much older."""
        for key, (until, dropped) in list(self.fragments()):
            value = (ctypes.c_uint64 * 2)(until - nanoseconds, dropped)
            assert _libbpf.bpf_map_update_elem(self._fragments, key, value, ctypes.c_uint64(0)) == 0

    def fragments(self) -> Iterator[tuple[bytes, tuple[int, int]]]:
        """Yield keys and values of the map of fragments: until when, and whether discarded."""
        value = (ctypes.c_uint64 * 2)()
        for key in _keys(self._fragments, _FRAGMENT_KEY):
            if _libbpf.bpf_map_lookup_elem(self._fragments, key, value) == 0:
                yield key, (value[0], value[1])

    def counted(self, rules: InterfaceState) -> Counted:
        """Return what the kernel counted."""
        counted = nothing()
        for slot in self._slots(rules):
            count = self.maps.count(slot)
            counted.bytes[slot] += count.bytes
            for reason, packets in count.packets.items():
                counted.verdicts[slot, reason] += packets
        for table in {group.index for group in rules.groups}:
            for at, (packets, size) in enumerate(self.maps.traffic(table)):
                counted.buckets[table, at] += packets
                counted.bucket_bytes[table, at] += size
        return counted


def _keys(fd: int, size: int) -> Iterator[bytes]:
    """Yield the keys of a map."""
    key, before = ctypes.create_string_buffer(size), None
    while _libbpf.bpf_map_get_next_key(fd, before, key) == 0:
        before = key
        yield key.raw


def _packed(ends: Socket) -> bytes:
    source, sport, vip, dport = ends
    addresses = [ip_address(one).packed for one in (source, vip)]
    ports = [port.to_bytes(2, "big") for port in (sport, dport)]
    return _ENDS.pack(*addresses, *ports, ip_address(vip).version)


def _unpacked(key: bytes) -> Socket:
    *addresses, sport, dport, version = _ENDS.unpack(key)
    source, vip = (str(ip_address(one[: 4 if version == 4 else 16])) for one in addresses)
    return source, int.from_bytes(sport, "big"), vip, int.from_bytes(dport, "big")
