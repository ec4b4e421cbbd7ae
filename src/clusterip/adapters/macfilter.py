"""The filter of an interface for link-layer multicast: the addresses that were added by hand.

It has no netlink call: it is set as `ip maddress add` does, by ioctl (netdevice(7)), and read from
/proc/net/dev_mcast.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import Final

from clusterip.core.packets.model import Mac

_SIOCADDMULTI: Final = 0x8931
_SIOCDELMULTI: Final = 0x8932
_IFREQ: Final = struct.Struct("16sH14s8x")  # struct ifreq with a sockaddr in it


def read(index: int) -> frozenset[Mac]:
    """Return them, whoever added them; not those of groups that were joined."""
    # Columns: ifindex, name, users, how often added by hand (0 or 1), address.
    # Bytes: a name may have any but spaces.
    lines = Path("/proc/thread-self/net/dev_mcast").read_bytes().splitlines()
    rows = (line.split() for line in lines)
    return frozenset(
        Mac(row[4].decode("ascii")) for row in rows if int(row[0]) == index and row[3] != b"0"
    )


def add(name: str, mac: Mac) -> None:
    """Add one by hand; nothing happens if that was done before."""
    _ask(_SIOCADDMULTI, name, mac)


def remove(name: str, mac: Mac) -> None:
    """Take back `add`; OSError if it was not done."""
    _ask(_SIOCDELMULTI, name, mac)


def _ask(request: int, name: str, mac: Mac) -> None:
    frame = _IFREQ.pack(os.fsencode(name), socket.AF_UNSPEC, bytes(mac))  # ip-maddress(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, request, frame)
