"""A host that takes or drains a bucket, as clients meet it: the programs beside the reference."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.frames import MACS, plain_frame
from tests.bpf.frames6 import plain_frame6
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import Socket, World, decide
from tests.namespaces import ip, own_namespace

VIPS = ("10.9.0.100", "2001:db8::100")
CLIENTS = {"10.9.0.100": "10.9.1.1", "2001:db8::100": "2001:db8:1::1"}
STRANGERS = {"10.9.0.100": "10.9.3.1", "2001:db8::100": "2001:db8:3::1"}
"""Behind the veth pair, where nobody is."""
ROUTERS = {"10.9.0.100": "10.9.2.2", "2001:db8::100": "2001:db8:2::1"}
OWNED, TAKING, DRAINING = BucketState.OWNED, BucketState.TAKING, BucketState.DRAINING
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)


@contextlib.contextmanager
def namespace_of_vips() -> Iterator[None]:
    """Enter a namespace that has the VIPs and their clients."""
    with own_namespace():
        for name in ("lo", "eth0"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")
        ip("address add 2001:db8:3::ff/64 dev eth0 nodad")
        ip("address add 10.9.3.254/24 dev eth0")
        for stranger in STRANGERS.values():
            ip(f"neighbour add {stranger} lladdr 02:00:00:00:00:22 dev eth0")
        for vip, client in CLIENTS.items():
            for address in (vip, client):
                length = ip_address(address).max_prefixlen
                ip(f"address add {address}/{length} dev lo" + " nodad" * (length == 128))
        yield


@dataclass
class Host:
    """The programs and the reference, before which the same packets come."""

    loaded: Loaded
    world: World
    ends: Socket

    def state(self, state: BucketState) -> None:
        """Change the state of the bucket."""
        self.world.buckets = {0: [state]}
        self.loaded.maps.set_bucket(0, 1, state)

    def deadline(self, deadline: int) -> None:
        self.world.deadlines = {0: deadline}
        self.loaded.maps.set_deadline(0, deadline)

    def meets(self, flags: int, protocol: int = 6, numbers: tuple[int, int] = (1, 1)) -> Reason:
        """Return what becomes of a packet between the ends: of TCP with these sequence numbers."""
        source, sport, vip, dport = self.ends
        address = ip_address(vip)
        if isinstance(address, IPv4Address):
            frame = plain_frame(source, sport, address, dport, protocol, flags)
        else:
            frame = plain_frame6(source, sport, address, dport, protocol, flags)
        if protocol == socket.IPPROTO_TCP:
            at = len(frame) - 16  # its header has neither options nor anything behind it
            frame = frame[:at] + struct.pack(">II", *numbers) + frame[at + 8 :]
        return self.of(frame)

    def too_big(self) -> Reason:
        """Return what becomes of a router's message about what the socket sent."""
        source, sport, vip, dport = self.ends
        layer = IPv6 if ":" in vip else IP
        told = ICMPv6PacketTooBig(mtu=1300) if ":" in vip else ICMP(type=3, code=4, nexthopmtu=1300)
        ours = layer(src=vip, dst=source) / TCP(sport=dport, dport=sport)
        link = Ether(src="02:00:00:00:00:09", dst=MACS[0].hex(":"))
        return self.of(bytes(link / layer(src=ROUTERS[vip], dst=vip) / told / ours))

    def of(self, frame: bytes) -> Reason:
        decision = decide(frame, self.world)
        assert self.loaded.ingress(frame) == (TC_ACT_SHOT if decision.drops else TC_ACT_UNSPEC)
        assert self.loaded.xdp(frame) == (XDP_DROP if decision.drops_early else XDP_PASS)
        assert self.loaded.openings() == self.world.openings
        assert decision.reason is not None
        return decision.reason

    @property
    def whose(self) -> str:
        return self.world.openings.get(self.ends, "")


def host_with(loaded: Loaded, ends: Socket, *, waits: bool) -> Host:
    rules = chains.append(Chain(), Rule(ip_address(ends[2]), "lo", sharing=SHARING), 7)
    here = frozenset({ends})
    world = World(rules.interfaces[0], {0: [DRAINING]}, {0: NO_DEADLINE}, here)
    world.time_waits = here if waits else frozenset()
    loaded.put(world)
    return Host(loaded, world, ends)
