"""The real programs in the kernel, unpinned and unattached, to be run on single frames."""

from __future__ import annotations

import ctypes
import errno
from collections import Counter
from dataclasses import dataclass

from clusterip.adapters import libbpf
from clusterip.adapters.abi import NO_DEADLINE, Reason
from clusterip.adapters.dataplane import MapPlane
from clusterip.adapters.planes import object_content
from clusterip.core.state import InterfaceState
from tests.bpf.reference import UNTOUCHED, Decision, World

TC_ACT_UNSPEC = 0xFFFFFFFF
TC_ACT_SHOT = 2
XDP_DROP = 1
XDP_PASS = 2
SHORTEST_IPV6 = 14 + 40

_libbpf = ctypes.CDLL("libbpf.so.1")
_libbpf.bpf_map_delete_elem.argtypes = (ctypes.c_int, ctypes.c_char_p)
_libbpf.bpf_map_delete_elem.restype = ctypes.c_int


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
    """The object, with a plane over its maps."""

    def __init__(self) -> None:
        self._object = libbpf.Object(object_content())
        self.plane = MapPlane(
            {
                name: self._object.map_fd(name)
                for name in ("config", "groups", "verdicts", "traffic")
            }
        )
        self._fragments = self._object.map_fd("fragments")
        self._firsts: dict[bytes, bool] = {}
        self._fds = {
            name: self._object.program_fd(f"clusterip_{name}")
            for name in ("ingress", "egress", "xdp")
        }

    def close(self) -> None:
        self._object.close()

    def put(self, world: World) -> None:
        """Make the kernel's world the same as the reference's, with all counters at zero."""
        for whole in self._firsts:
            _libbpf.bpf_map_delete_elem(self._fragments, whole)
        self._firsts = world.firsts
        self.plane.commit(world.rules)
        for table in {group.index for group in world.rules.groups}:
            self.plane.clear_group(table)
            for number, state in enumerate(world.buckets.get(table, ()), start=1):
                if state:
                    self.plane.set_bucket(table, number, state)
                    self.plane.set_cells(table, number, world.cells.get((table, number - 1), 0))
            self.plane.set_deadline(table, world.deadlines.get(table, NO_DEADLINE))
        for slot in self._slots(world.rules):
            self.plane.zero_rule(slot)

    @staticmethod
    def _slots(rules: InterfaceState) -> set[int]:
        return {0, *(entry.slot for entry in rules.entries)}

    def ingress(self, frame: bytes) -> int | None:
        """Return the verdict of tc; None for a frame that BPF_PROG_TEST_RUN itself refuses.

        It makes no skb of an IP header cut short. XDP gets these frames all the same, and its
        verdict is the same function.
        """
        try:
            return self._run("ingress", frame)[0]
        except OSError as error:
            if error.errno == errno.EINVAL and len(frame) < SHORTEST_IPV6:
                return None
            raise

    def xdp(self, frame: bytes) -> int:
        return self._run("xdp", frame)[0]

    def egress(self, frame: bytes) -> tuple[int, bytes]:
        return self._run("egress", frame)

    def _run(self, name: str, frame: bytes) -> tuple[int, bytes]:
        return libbpf.run_program(self._fds[name], frame)

    def counted(self, rules: InterfaceState) -> Counted:
        """Return what the kernel counted."""
        counted = nothing()
        for slot in self._slots(rules):
            count = self.plane.count(slot)
            counted.bytes[slot] += count.bytes
            for reason, packets in count.packets.items():
                counted.verdicts[slot, reason] += packets
        for table in {group.index for group in rules.groups}:
            for at, (packets, size) in enumerate(self.plane.traffic(table)):
                counted.buckets[table, at] += packets
                counted.bucket_bytes[table, at] += size
        return counted
