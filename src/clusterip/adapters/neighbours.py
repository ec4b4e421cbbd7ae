"""Neighbours whose MAC Linux asks for: in vain while a link is down, and then once a second only.

What has no carrier sends no ARP, and no neighbour solicitation, but counts as asked. So after a
link was gone for a moment, answers to a client or a router would wait for the rest of that second.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from clusterip.adapters import netlink

_NEW, _GET = 28, 30  # RTM_NEWNEIGH, RTM_GETNEIGH
_HEAD: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, ifindex, state, flags, type
_DST: Final = 1  # NDA_DST
_NONE: Final = 0
_INCOMPLETE: Final = 0x01
_USE: Final = 0x01
"""States and a flag of struct ndmsg, rtnetlink(7): to be used now."""
_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})


def ask_again(index: int) -> int:
    """Ask at once for all neighbours that are being asked for on an interface; returns how many.

    What waits for their answers goes on waiting.
    """
    asked = 0
    for body in netlink.listed(_GET, _HEAD.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "ip neighbour"):
        family, at, state, *_ = _HEAD.unpack_from(body)
        if (at, state) != (index, _INCOMPLETE):
            continue
        address = netlink.attributes(body[_HEAD.size :])[_DST]
        try:
            # Back to the beginning, and from there as the first packet to it would have it.
            for flags in (0, _USE):
                _change(_HEAD.pack(family, index, _NONE, flags, 0), address)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        else:
            asked += 1
    return asked


def _change(head: bytes, address: bytes) -> None:
    body = head + netlink.attribute(_DST, address)
    netlink.ask(_NEW, netlink.REPLACE, body, "ip neighbour change")
