"""What announces a VIP, read by somebody else's code."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from clusterip.core.announcement import frames
from clusterip.core.packets.model import Mac

NIC = "02:00:00:00:00:07"
macs = st.binary(min_size=6, max_size=6).map(Mac.of)


def nic() -> Mac:
    return Mac.of(bytes.fromhex(NIC.replace(":", "")))


@given(st.ip_addresses(v=4), macs)
def test_ipv4(vip: IPv4Address, mac: Mac) -> None:
    request, reply = (Ether(one) for one in frames(vip, mac, nic()))
    for one in (request, reply):
        assert (one.src, one.dst) == (NIC, "ff:ff:ff:ff:ff:ff")
        assert (one[ARP].psrc, one[ARP].pdst) == (str(vip), str(vip))
        assert one[ARP].hwsrc == str(mac).lower()
    assert (request[ARP].op, reply[ARP].op) == (1, 2)
    assert request[ARP].hwdst == "00:00:00:00:00:00"


@given(st.ip_addresses(v=6), macs)
def test_ipv6(vip: IPv6Address, mac: Mac) -> None:
    (frame,) = frames(vip, mac, nic())
    expected = (
        Ether(src=NIC, dst="33:33:00:00:00:01")
        / IPv6(src=str(vip), dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=str(vip), R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=str(mac).lower())
    )
    assert frame == bytes(expected)
