"""Being told when something of this network namespace changes: rtnetlink(7) notifications.

Only that something changed is taken from them, and that a link was down; what it is now is asked
for (netdevice(7)).
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from typing import Final

_LINK: Final = 1
_FILTERS: Final = 8
_ADDRESSES: Final = 0x10 | 0x100
"""Groups RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""
_LONGEST: Final = 1 << 16
_SIOCGIFFLAGS: Final = 0x8913
_IFF_RUNNING: Final = 0x40
_NEWLINK: Final = 16
_MESSAGE: Final = struct.Struct("=IH10x4xiI4x")  # struct nlmsghdr, struct ifinfomsg
_IFREQ: Final = struct.Struct("16sH22x")


def _down(messages: bytes) -> Iterator[int]:
    """Yield the ifindices of links that netlink messages tell to have no carrier."""
    at = 0
    while at + _MESSAGE.size <= len(messages):
        length, kind, index, flags = _MESSAGE.unpack_from(messages, at)
        if kind == _NEWLINK and not flags & _IFF_RUNNING:
            yield index
        at += max(length + 3 & ~3, _MESSAGE.size)


class LinkWatch:
    """A socket that becomes readable when links, addresses, qdiscs or filters change."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, _LINK | _FILTERS | _ADDRESSES))

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def drain(self) -> frozenset[int]:
        """Forget the notifications that have come, lost ones included.

        Returns the ifindices of links that were down meanwhile, as they may not be any more.
        """
        down: set[int] = set()
        while True:
            try:
                down.update(_down(self._socket.recv(_LONGEST)))
            except BlockingIOError:
                return frozenset(down)
            except OSError as error:
                # Some were lost: something changed, which is all that is asked.
                if error.errno != errno.ENOBUFS:
                    raise

    @staticmethod
    def running(index: int) -> bool:
        """Tell whether the interface is up and has a carrier; False too if it is gone."""
        try:
            request = _IFREQ.pack(socket.if_indextoname(index).encode(), 0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                _, flags = _IFREQ.unpack(fcntl.ioctl(one, _SIOCGIFFLAGS, request))
        except OSError:
            return False
        return bool(flags & _IFF_RUNNING)

    @staticmethod
    def exists(index: int) -> bool:
        """Tell whether there is such an interface."""
        try:
            socket.if_indextoname(index)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close it."""
        self._socket.close()
