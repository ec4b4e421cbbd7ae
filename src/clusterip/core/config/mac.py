"""Cluster MACs: the one a VIP has by default, what is unwise about others, and whom they are for.

01:00:5e:00:00:xx is where the IPv4 groups 224.0.0.xx live, which every switch floods (RFC 4541,
2.1.2): each host gets every packet, without any join. Other IPv4 group MACs reach, on a switch
that snoops IGMP, only the ports that joined the group.

IPv6 VIPs have the same MACs: switches look at the MAC, not at the frame within. Of 33:33 MACs
every switch floods one only, that of ff02::1 (RFC 4541, 3), where all IPv6 hosts listen; hosts
report every other group, so a switch that snoops MLD may prune it.

To have the frames of such a MAC, a host joins a group that has this MAC (`igmp_group`). Nobody
sends to that group; it is only what a switch learns by. A MAC fits 32 IPv4 groups, or any IPv6
group with its low 32 bits. Ours are ones that nothing else uses:
- 239.0.0.0 to 239.127.255.255: administratively scoped, so that no router asks other networks for
  it, and of these the part that RFC 2365 (6.2.1) leaves unassigned; no protocol lives there.
- ff15::/96: transient (RFC 4291, 2.7), so that no permanent assignment counts (RFC 3307), and of
  site scope, within which routers keep it. Link scope would do for switches, but Linux may then
  take the group for the interface's link-local address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from clusterip.core.address import Address
from clusterip.core.packets.model import Mac

FLOODED: Final = "01005e0000"
"""The first five bytes of the MACs that every switch floods."""
_ALL_IPV6_HOSTS: Final = "333300000001"
"""The MAC of ff02::1, which every switch floods too."""

_TRANSIENT_SITE: Final = bytes.fromhex("ff15") + bytes(10)

FIRST: Final = 160
COUNT: Final = 64
"""The groups that defaults are taken from, 224.0.0.160 to .223: IANA has assigned none of them."""

IN_USE: Final[dict[int, str]] = {
    1: "all hosts",
    2: "all routers",
    4: "DVMRP",
    5: "OSPF",
    6: "OSPF",
    9: "RIP",
    10: "EIGRP",
    13: "PIM",
    18: "VRRP",
    19: "IS-IS",
    20: "IS-IS",
    21: "IS-IS",
    22: "IGMP",
    25: "RGMP",
    102: "HSRP",
    106: "all snoopers",
    107: "PTP",
    109: "MANET routers",
    111: "Babel",
    113: "AllJoyn",
    118: "MAAS",
    119: "GRASP",
    121: "RIFT",
    251: "mDNS",
    252: "LLMNR",
    253: "Teredo",
    254: "experiments",
}
"""Last byte of 224.0.0.x to who speaks there on today's networks."""


def default_mac(vip: Address) -> Mac:
    """Return the cluster MAC of a VIP that names none: 01:00:5e:00:00:a0 to :df.

    It depends on this VIP alone, so that adding a VIP changes no other's, and neighbouring
    addresses get different ones. Two VIPs, or two clusters, may have one MAC: what is not for a
    host's VIPs is left alone there, it costs only the look.
    """
    return Mac(f"{FLOODED}{FIRST + int(vip) % COUNT:02x}")


def user(mac: Mac) -> str:
    """Return who else uses a flooded MAC, empty for nobody known."""
    last = bytes(mac)[5]
    if mac.digits == _ALL_IPV6_HOSTS:
        return "all IPv6 hosts"
    return IN_USE.get(last, "") if mac.digits.startswith(FLOODED) else ""


def named(mac: Mac) -> str:
    """Return the group that a flooded MAC is that of."""
    return "ff02::1" if mac.digits == _ALL_IPV6_HOSTS else f"224.0.0.{bytes(mac)[5]}"


def snooped(mac: Mac) -> str:
    """Return the protocol by which switches learn who wants this MAC; empty if they flood it."""
    if mac.digits.startswith(FLOODED) or mac.digits == _ALL_IPV6_HOSTS:
        return ""
    # Of 01:00:5e only the lower half are IPv4 groups.
    if mac.digits.startswith("01005e") and bytes(mac)[3] < 0x80:
        return "IGMP"
    return "MLD" if mac.digits.startswith("3333") else ""


def igmp_group(mac: Mac) -> Address | None:
    """Return the IP group by which switches learn who wants this MAC; None if there is none."""
    low = bytes(mac)[2:]
    protocol = snooped(mac)
    if protocol == "IGMP":
        return IPv4Address(bytes([239]) + low[1:])
    return IPv6Address(_TRANSIENT_SITE + low) if protocol else None
