"""Being told when something of this network namespace changes: rtnetlink(7) notifications.

Only that something changed is taken from them; what it is now is asked for (netdevice(7)).
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import Final

_LINK: Final = 1
_FILTERS: Final = 8
_ADDRESSES: Final = 0x10 | 0x100
"""Groups RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h."""
_LONGEST: Final = 1 << 16
_SIOCGIFFLAGS: Final = 0x8913
_IFF_RUNNING: Final = 0x40
_IFREQ: Final = struct.Struct("16sH22x")


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

    def drain(self) -> None:
        """Forget the notifications that have come, lost ones included."""
        while True:
            try:
                self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
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
