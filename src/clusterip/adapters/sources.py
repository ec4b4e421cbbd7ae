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

_RTM_GETADDR: Final = 22
_RTM_NEWADDR: Final = 20
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST_DUMP: Final = 0x301
_SOL_NETLINK: Final = 270
_NETLINK_GET_STRICT_CHK: Final = 12
_IFA_LOCAL: Final = 2
_IFA_F_SECONDARY: Final = 0x01
_IFA_F_DEPRECATED: Final = 0x20
_RT_SCOPE_LINK: Final = 253
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ADDRESS: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr: length, type
_ERROR: Final = struct.Struct("=i")
_BUFFER: Final = 65536  # bytes; the kernel sends no more than 32 KiB at once


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
    """Yield flags, scope and value of each IPv4 address, in the kernel's order: rtnetlink(7).

    By hand: pyroute2 runs an event loop, which cannot be within another.
    """
    length = _HEADER.size + _ADDRESS.size
    request = _HEADER.pack(length, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 0, 0) + _ADDRESS.pack(
        socket.AF_INET, 0, 0, 0, index
    )
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as one:
        one.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)  # only this interface's, please
        one.send(request)
        while True:
            portion = memoryview(one.recv(_BUFFER))
            while portion:
                length, what, *_ = _HEADER.unpack_from(portion)
                message = portion[_HEADER.size : length]
                if what in {_NLMSG_DONE, _NLMSG_ERROR}:
                    (code,) = _ERROR.unpack_from(message)
                    if code:
                        raise OSError(-code, f"listing addresses: {os.strerror(-code)}")
                    return
                if what == _RTM_NEWADDR:
                    _, prefix, flags, scope, _ = _ADDRESS.unpack_from(message)
                    packed = _attribute(message[_ADDRESS.size :], _IFA_LOCAL)
                    yield flags, scope, IPv4Interface((packed, prefix))
                portion = portion[(length + 3) & ~3 :]


def _attribute(attributes: memoryview, wanted: int) -> bytes:
    while attributes:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if kind == wanted:
            return bytes(attributes[_ATTRIBUTE.size : length])
        attributes = attributes[(length + 3) & ~3 :]
    raise OSError(errno.EBADMSG, "listing addresses: one has no value")
