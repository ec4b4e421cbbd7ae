"""Reports of groups, read and made by somebody else's code."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6MLReport, IPv6, IPv6ExtHdrHopByHop, RouterAlert
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from clusterip.core.membership import report
from clusterip.core.packets.model import Mac

NIC, MAC = "02:00:00:00:00:07", "01:00:5e:7f:00:20"
MAC6 = "33:33:80:00:00:20"


def mac(text: str) -> Mac:
    return Mac.of(bytes.fromhex(text.replace(":", "")))


@given(st.ip_addresses(v=4))
def test_igmp(group: IPv4Address) -> None:
    without = b"\x16\0\0\0" + group.packed
    igmp = b"\x16\0" + checksum(without).to_bytes(2, "big") + group.packed
    expected = (
        Ether(src=NIC, dst=MAC)
        / IP(
            src="0.0.0.0",
            dst=str(group),
            ttl=1,
            tos=0xC0,
            id=0,
            proto=2,
            options=[IPOption_Router_Alert()],
        )
        / igmp
    )
    assert report(group, mac(MAC), mac(NIC)) == bytes(expected)


@given(st.ip_addresses(v=6))
def test_mld(group: IPv6Address) -> None:
    expected = (
        Ether(src=NIC, dst=MAC6)
        / IPv6(src="::", dst=str(group), hlim=1)
        / IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)])
        / ICMPv6MLReport(mladdr=str(group))
    )
    assert report(group, mac(MAC6), mac(NIC)) == bytes(expected)
