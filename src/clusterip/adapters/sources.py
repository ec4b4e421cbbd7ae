"""The IPv4 address that a datagram leaves from: one of this host's own, never a VIP.

Linux takes the first address of the interface for a broadcast, and for the rest the route's. That
may be a VIP: where somebody gave it a network, or the other addresses went and came. Hosts that
have the VIP themselves do not hear what comes from it. So each datagram names its source, which
Linux takes or refuses, and by the time it is sent the address is there or it is not sent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

from clusterip.adapters import netlink

_RTM_GETADDR: Final = 22
_IFA_LOCAL: Final = 2
_IFA_F_SECONDARY: Final = 0x01
_IFA_F_DEPRECATED: Final = 0x20
_RT_SCOPE_LINK: Final = 253
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index


class NoSourceError(OSError):
    """There is no address to send from."""


class Sources:
    """Chooses for datagrams of this network namespace; `never` are the VIPs."""

    def __init__(self, never: Collection[str]) -> None:
        self._never = frozenset((*never, "0.0.0.0"))  # noqa: S104 - none at all

    def towards(self, address: str) -> str:
        """Return the source for a datagram to an address.

        That of the route, unless it is a VIP: then one in the address's network, or any other.
        OSError if there is no route, NoSourceError if there is no address but VIPs.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            source = str(probe.getsockname()[0])
        if source not in self._never:
            return source
        own = self._own(0)
        near = (one for one in own if IPv4Address(address) in one.network)
        return str(next(near, own[0]).ip)

    def on_link(self, index: int) -> str:
        """Return the source for a broadcast on interface `index`: its first address but for VIPs.

        OSError if there is no such interface, NoSourceError if it has no address but VIPs.
        """
        return str(self._own(index)[0].ip)

    def _own(self, index: int) -> list[IPv4Interface]:
        """Return what may be chosen, the best first; `index` 0 is for all interfaces."""
        found = sorted(_listed(index), key=lambda one: one[0])
        own = [one for _, one in found if str(one.ip) not in self._never]
        if not own:
            raise NoSourceError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return own


def _listed(index: int) -> Iterator[tuple[int, IPv4Interface]]:
    """Yield the addresses that are known beyond this host, each with how little it is to be used.

    0: as any other. Host scope is for those that nothing is sent from: VIPs of others, say.
    """
    for flags, scope, one in _addresses(index):
        if scope <= _RT_SCOPE_LINK and not one.is_loopback:
            yield flags & (_IFA_F_DEPRECATED | _IFA_F_SECONDARY), one


def _addresses(index: int) -> Iterator[tuple[int, int, IPv4Interface]]:
    """Yield flags, scope and value of each IPv4 address, in the kernel's order."""
    head = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, index)
    # Only this interface's, please.
    for body in netlink.listed(_RTM_GETADDR, head, "listing addresses", strict=True):
        _, prefix, flags, scope, _ = _ADDRESS.unpack_from(body)
        packed = netlink.attributes(body[_ADDRESS.size :]).get(_IFA_LOCAL)
        if packed is None:
            raise OSError(errno.EBADMSG, "listing addresses: one has no value")
        yield flags, scope, IPv4Interface((packed, prefix))
