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
_SET: Final = {"gro": 0x2C, "gso": 0x24, "tso": 0x1F}  # ETHTOOL_SGRO and its like


def set_offload(node: Node, name: str, *, on: bool) -> None:
    """Switch "gro", "gso" or "tso" of a node's `eth0` on or off; OSError where it cannot be."""

    def ask() -> None:
        value = (ctypes.c_uint32 * 2)(_SET[name], on)  # struct ethtool_value
        request = struct.pack("16sP16x", b"eth0", ctypes.addressof(value))  # struct ifreq
        with socket.socket() as one:
            fcntl.ioctl(one, _SIOCETHTOOL, request)

    node.call(ask)
