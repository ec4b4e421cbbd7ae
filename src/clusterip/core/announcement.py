"""Announcements: frames that tell a VIP's cluster MAC to those that had another one for it.

An IPv4 VIP is announced by gratuitous ARP, as a request (RFC 5227, 2.3) and as a reply, for there
are devices that heed only one of the two; an IPv6 VIP by an unsolicited neighbour advertisement
with the override flag (RFC 4861, 7.2.6). Who has no entry for the VIP makes none of it.

The Ethernet source is the interface's own MAC: a switch must not learn the cluster MAC.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Final

from clusterip.core.address import Address
from clusterip.core.checksum import checksum
from clusterip.core.packets.model import Mac

COUNT: Final = 3
INTERVAL: Final = 1_000_000_000
"""How many announcements of a VIP are made, and ns from one to the next."""

_BROADCAST: Final = b"\xff" * 6
_ALL_NODES: Final = IPv6Address("ff02::1")
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_REQUEST, _REPLY = 1, 2
_ADVERTISEMENT: Final = 136
_OVERRIDE: Final = 1 << 29
_TARGET_MAC: Final = 2
_ICMPV6: Final = 58


def frames(vip: Address, mac: Mac, nic: Mac) -> tuple[bytes, ...]:
    """Return what announces `vip` at `mac` from the interface whose own MAC is `nic`."""
    if isinstance(vip, IPv6Address):
        return (_advertisement(vip, bytes(mac), bytes(nic)),)
    return tuple(
        _BROADCAST
        + bytes(nic)
        + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
        + (bytes(mac) + vip.packed)
        + ((bytes(6) if operation == _REQUEST else bytes(mac)) + vip.packed)
        for operation in (_REQUEST, _REPLY)
    )


def _advertisement(vip: IPv6Address, mac: bytes, nic: bytes) -> bytes:
    flags, option = struct.pack(">I", _OVERRIDE), bytes((_TARGET_MAC, 1)) + mac
    rest = flags + vip.packed + option
    addresses = vip.packed + _ALL_NODES.packed
    pseudo = addresses + struct.pack(">II", 4 + len(rest), _ICMPV6)
    total = checksum(pseudo + bytes((_ADVERTISEMENT, 0, 0, 0)) + rest)
    header = struct.pack(">IHBB", 6 << 28, 4 + len(rest), _ICMPV6, 255)
    message = struct.pack(">BBH", _ADVERTISEMENT, 0, total) + rest
    return _ALL_NODES_MAC + nic + b"\x86\xdd" + header + addresses + message
