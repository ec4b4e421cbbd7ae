"""Our programs in the kernel, not attached, to be timed on single frames by BPF_PROG_TEST_RUN."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from bench.filters import compiled
from clusterip.adapters import libbpf
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.adapters.bpfobject import object_content
from clusterip.adapters.kernel_maps import KernelMaps
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ANY_PROTOCOL, TCP, Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Entry, Group, InterfaceState
from lab.topology import CLUSTER_MAC, VIP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

XDP_DROP: Final = 1
XDP_PASS: Final = 2
TC_ACT_SHOT: Final = 2
TC_ACT_UNSPEC: Final = 0xFFFFFFFF
_REPEAT: Final = 50_000
_TIMES: Final = 10
REPEAT: Final = _REPEAT * _TIMES
BUCKETS: Final = 12
FIRST_PORT: Final = 1000


class Loaded:
    """The object with rules in force; all VIPs have one table, whose buckets are in one state."""

    def __init__(self, loaded: libbpf.Object, state: InterfaceState, xdp: str, tc: str) -> None:
        maps = ("config", "groups", "verdicts", "traffic")
        self._maps = KernelMaps({name: loaded.map_fd(name) for name in maps})
        self._maps.commit(state)
        self._maps.set_deadline(0, NO_DEADLINE)
        self._slots = (0, *(entry.slot for entry in state.entries))
        self.xdp = loaded.program_fd(xdp)
        self.tc = loaded.program_fd(tc)

    def be(self, state: BucketState) -> None:
        """Put all buckets in that state."""
        for bucket in range(1, BUCKETS + 1):
            self._maps.set_bucket(0, bucket, state)

    def counted(self, reason: Reason) -> int:
        """Return how many packets were decided for that reason."""
        return sum(self._maps.count(slot).packets[reason] for slot in self._slots)


def loaded(state: InterfaceState) -> contextlib.AbstractContextManager[Loaded]:
    """Load the object for as long as the context lasts."""
    return _loaded(object_content(), state, "clusterip_xdp", "clusterip_ingress")


def smallest(state: InterfaceState) -> contextlib.AbstractContextManager[Loaded]:
    """Load in the same way the programs of smallest.bpf.c, which read the same maps."""
    return _loaded(compiled("smallest"), state, "smallest_xdp", "smallest_tc")


@contextlib.contextmanager
def _loaded(content: bytes, state: InterfaceState, xdp: str, tc: str) -> Iterator[Loaded]:
    one = libbpf.Object(content)
    try:
        yield Loaded(one, state, xdp, tc)
    finally:
        one.close()


def rules(vips: Sequence[str] = (VIP,), services: int = 0) -> InterfaceState:
    """Return rules for VIPs of one table: each has that many TCP ports, 0 for all protocols."""
    sharing = Sharing(HashMode.SOURCEIP, Mac(CLUSTER_MAC.replace(":", "")), BUCKETS)
    ports = range(FIRST_PORT, FIRST_PORT + services)
    matches = [Match(TCP, destination_ports=(Ports("tcp", ((one, one),)),)) for one in ports]
    pairs = [(ip_address(vip), match) for vip in vips for match in matches or [Match(ANY_PROTOCOL)]]
    return InterfaceState(
        2,
        "eth0",
        groups=tuple(Group(0, ip_address(vip), sharing) for vip in vips),
        entries=tuple(
            Entry(at, at + 1, Rule(vip, "eth0", match, sharing))
            for at, (vip, match) in enumerate(pairs)
        ),
    )


def timed(program: int, frame: bytes, expected: int) -> float:
    """Return the time of one run in ns; RuntimeError unless the program returns `expected`.

    It is run REPEAT times, in turns of a few ms; the best turn counts, in which no other program
    had the processor.
    """
    turns = [libbpf.time_program(program, frame, _REPEAT) for _ in range(_TIMES)]
    if wrong := {returned for returned, _ in turns} - {expected}:
        raise RuntimeError(f"the program returned {wrong} in place of {expected}")
    return float(min(duration for _, duration in turns))
