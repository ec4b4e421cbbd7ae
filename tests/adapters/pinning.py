"""Rules for the tests of what is pinned."""

from __future__ import annotations

from ipaddress import IPv4Address

import msgspec

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState, Taken, XdpMode
from clusterip.core.rules import chain as chains

VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), 3, 1234)


def state_of(count: int = 1, index: int = 2) -> InterfaceState:
    chain = Chain()
    for port in range(1, count + 1):
        match = Match(6, destination_ports=(Ports("tcp", ((port, port),)),))
        chain = chains.append(chain, Rule(VIP, "eth0", match, SHARED, 1), index)
    state = chain.interface(index) or InterfaceState(index, "eth0")
    taken = Taken(clsact=True, macs=(SHARED.mac,), addresses=(VIP,))
    return msgspec.structs.replace(state, xdp=XdpMode.REQUIRE, xdp_note="why not", taken=taken)
