"""Reports that a host is a member of an IP group: how a switch that snoops learns its port.

Such a switch forgets a port whose link goes. The kernel reports its groups again when the interface
was down, but, of IPv4 ones, not when only the link was, and nothing when the switch was not ready
yet to listen: until it asks, which may take minutes, it would bring no frame of the group here.

The versions of IGMP and MLD are the oldest that snooping goes by (RFC 2236, 2; RFC 2710, 3); all
later ones take them. Their source is no address: a switch must heed that (RFC 4541, 2.1.1 and 3),
and routers, which ask for themselves, need not.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Final

from clusterip.core.address import Address
from clusterip.core.checksum import checksum
from clusterip.core.packets.model import Mac

_IGMP: Final = 2
_IGMP_REPORT: Final = 0x16
_IPV4_ALERT: Final = bytes((148, 4, 0, 0))
"""The router alert option of RFC 2113."""
_NETWORK_CONTROL: Final = 0xC0
_ICMPV6: Final = 58
_MLD_REPORT: Final = 131
_IPV6_ALERT: Final = bytes((_ICMPV6, 0, 5, 2, 0, 0, 1, 0))
"""Hop-by-hop options: the router alert of RFC 2711, for MLD, and padding."""


def report(igmp_group: Address, mac: Mac, nic: Mac) -> bytes:
    """Return the frame by which interface `nic` reports `igmp_group`, which has the MAC `mac`."""
    ends = bytes(mac) + bytes(nic)
    if isinstance(igmp_group, IPv6Address):
        message = struct.pack(">BBHHH", _MLD_REPORT, 0, 0, 0, 0) + igmp_group.packed
        addresses = bytes(16) + igmp_group.packed
        pseudo = addresses + struct.pack(">II", len(message), _ICMPV6)
        total = checksum(pseudo + message)
        payload = _IPV6_ALERT + message[:2] + struct.pack(">H", total) + message[4:]
        return (
            ends
            + b"\x86\xdd"
            + struct.pack(">IHBB", 6 << 28, len(payload), 0, 1)
            + (addresses + payload)
        )
    message = struct.pack(">BBH", _IGMP_REPORT, 0, 0) + igmp_group.packed
    message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    length = 20 + len(_IPV4_ALERT)
    start = struct.pack(
        ">BBHHHBB", 0x40 | length // 4, _NETWORK_CONTROL, length + len(message), 0, 0, 1, _IGMP
    )
    end = bytes(4) + igmp_group.packed + _IPV4_ALERT
    header = start + struct.pack(">H", checksum(start + b"\0\0" + end)) + end
    return ends + b"\x08\x00" + header + message
