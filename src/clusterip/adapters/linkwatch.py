"""Being told when something of this network namespace changes: rtnetlink(7) notifications.

Only that something changed is taken from them, and that a link was down; what it is now is asked
for (netdevice(7)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

IFF_UP: Final = 1
IFF_RUNNING: Final = 0x40
"""Flags of an interface (netdevice(7)): up, whatever its carrier; up and with one."""
_LINK: Final = 1
_FILTERS: Final = 8
_ADDRESSES: Final = 0x10 | 0x100
"""Groups RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""
_LONGEST: Final = 1 << 16
_SIOCGIFNAME: Final = 0x8910
_SIOCGIFFLAGS: Final = 0x8913
_NEWLINK: Final = 16
_DELLINK: Final = 17
_IFLA_MASTER: Final = 10
_MESSAGE: Final = struct.Struct("=IH10x4xiI4x")  # struct nlmsghdr, struct ifinfomsg
_ATTRIBUTE: Final = struct.Struct("=HHI")  # struct rtattr, and a number
_IFREQ: Final = struct.Struct("16si20x")


def _links(messages: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Yield the ifindex, the flags and the master (0 for none) of links that messages tell of.

    The master of one that has gone, or is no port of a bridge any more, is None.
    """
    at = 0
    while at + _MESSAGE.size <= len(messages):
        length, kind, index, flags = _MESSAGE.unpack_from(messages, at)
        end = min(at + max(length, _MESSAGE.size), len(messages))
        if kind == _NEWLINK:
            yield index, flags, _master(messages[at + _MESSAGE.size : end])
        elif kind == _DELLINK:
            yield index, flags, None
        at += max(length + 3 & ~3, _MESSAGE.size)


def _master(attributes: bytes) -> int:
    """Return the ifindex of a bridge, bond or VRF that a link is in, 0 for none."""
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind, value = _ATTRIBUTE.unpack_from(attributes, at)
        if kind == _IFLA_MASTER:
            return int(value)
        at += max(length + 3 & ~3, 4)
    return 0


class Told(NamedTuple):
    """What notifications told: what may not be so any more."""

    down: frozenset[int]
    """The ifindices of links that were down."""
    came: bool
    """Whether there is a link that was not told of yet, or one in or out of a bridge, say."""


class LinkWatch:
    """A socket that becomes readable when links, addresses, qdiscs or filters change."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, _LINK | _FILTERS | _ADDRESSES))
        # Kept, for a process that is out of descriptors must not take its interface for gone.
        self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._masters: dict[int, int | None] = {}

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def drain(self) -> Told:
        """Forget the notifications that have come, lost ones included, but for what they told."""
        down: set[int] = set()
        came = False
        while True:
            try:
                messages = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return Told(frozenset(down), came)
            except OSError as error:
                # Some were lost: something changed, perhaps that.
                if error.errno != errno.ENOBUFS:
                    raise
                came = True
                continue
            for index, flags, master in _links(messages):
                if not flags & IFF_RUNNING:
                    down.add(index)
                came |= master is not None and self._masters.get(index) != master
                self._masters[index] = master

    def running(self, index: int) -> bool:
        """Tell whether the interface is up and has a carrier; False too if it is gone."""
        return bool(self._flags(index) & IFF_RUNNING)

    def up(self, index: int) -> bool:
        """Tell whether the interface is up, whatever its carrier; False too if it is gone."""
        return bool(self._flags(index) & IFF_UP)

    def _flags(self, index: int) -> int:
        named = self._ask(_SIOCGIFNAME, b"", index)
        flagged = named and self._ask(_SIOCGIFFLAGS, named[0], 0)
        return flagged[1] if flagged else 0

    def exists(self, index: int) -> bool:
        """Tell whether there is such an interface."""
        return self._ask(_SIOCGIFNAME, b"", index) is not None

    def name(self, index: int) -> str:
        """Return what the interface is called now, "" if it is gone."""
        named = self._ask(_SIOCGIFNAME, b"", index)
        return named[0].rstrip(b"\0").decode(errors="replace") if named else ""

    def has(self, name: str) -> bool:
        """Tell whether there is an interface of that name."""
        return self._ask(_SIOCGIFFLAGS, os.fsencode(name), 0) is not None

    def _ask(self, what: int, name: bytes, number: int) -> tuple[bytes, int] | None:
        """Return the name and the number that the kernel answers; None if the interface is gone."""
        try:
            answer = _IFREQ.unpack(fcntl.ioctl(self._asking, what, _IFREQ.pack(name, number)))
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO):
                raise
            return None
        return answer[0], answer[1]

    def close(self) -> None:
        """Close it."""
        self._asking.close()
        self._socket.close()
