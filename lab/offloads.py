"""What a network interface does in place of the stack: generic receive and segmentation offload.

The requests are those of ethtool(8), by the ioctl of linux/ethtool.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lab.topology import Node

_SIOCETHTOOL: Final = 0x8946
_GET: Final = {"gro": 0x2B, "gso": 0x23, "tso": 0x1E}  # ETHTOOL_GGRO and its like; to set: 1 more


def set_offload(node: Node, name: str, *, on: bool) -> None:
    """Switch "gro", "gso" or "tso" of a node's `eth0` on or off."""
    node.call(lambda: _ask(_GET[name] + 1, on=on))


def offload(node: Node, name: str) -> bool:
    """Return whether one of them is on."""
    return node.call(lambda: _ask(_GET[name]))


def _ask(command: int, *, on: bool = False) -> bool:
    value = (ctypes.c_uint32 * 2)(command, on)  # struct ethtool_value
    request = struct.pack("16sP16x", b"eth0", ctypes.addressof(value))  # struct ifreq
    with socket.socket() as one:
        fcntl.ioctl(one, _SIOCETHTOOL, request)
    return bool(value[1])
