"""Cluster MACs: the one a VIP has by default, and what is unwise about others.

01:00:5e:00:00:xx is where the IPv4 groups 224.0.0.xx live, which every switch floods (RFC 4541,
2.1.2): each host gets every packet, without any join. Other IPv4 group MACs reach, on a switch
that snoops IGMP, only the ports that joined the group.

IPv6 VIPs have the same MACs: switches look at the MAC, not at the frame within. Of 33:33 MACs
every switch floods one only, that of ff02::1 (RFC 4541, 3), where all IPv6 hosts listen; hosts
report every other group, so a switch that snoops MLD may prune it.
"""

from __future__ import annotations

from typing import Final

from clusterip.core.address import Address
from clusterip.core.model import Mac

FLOODED: Final = "01005e0000"
"""The first five bytes of the MACs that every switch floods."""

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
    return IN_USE.get(last, "") if mac.digits.startswith(FLOODED) else ""


def snooped(mac: Mac) -> str:
    """Return the protocol by which switches learn who wants this MAC; empty if they flood it."""
    if mac.digits.startswith(FLOODED):
        return ""
    # Of 01:00:5e only the lower half are IPv4 groups.
    if mac.digits.startswith("01005e") and bytes(mac)[3] < 0x80:
        return "IGMP"
    return "MLD" if mac.digits.startswith("3333") else ""
