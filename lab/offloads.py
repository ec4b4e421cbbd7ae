"""What a network interface does in place of the stack: merge and cut segments, carry tags.

The requests are those of ethtool(8), by the ioctl of linux/ethtool.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lab.namespace import Namespace
    from lab.topology import Node

_SIOCETHTOOL: Final = 0x8946
_GET: Final = {"gro": 0x2B, "gso": 0x23, "tso": 0x1E}  # ETHTOOL_GGRO and its like; to set: 1 more
_GET_FLAGS: Final = 0x25  # ETHTOOL_GFLAGS; to set: 1 more
_TX_VLAN: Final = 1 << 7  # ETH_FLAG_TXVLAN


def carry_tags_aside(node: Namespace, interface: str, *, on: bool) -> None:
    """Have the VLAN tags of frames that leave an interface be beside the frame or in it.

    Beside it they are where a NIC puts those that it takes off; a veth pair passes them on as
    they are, and XDP does not see them.
    """

    def change() -> None:
        flags = _ask(_GET_FLAGS, name=interface)
        wanted = flags | _TX_VLAN if on else flags & ~_TX_VLAN
        _ask(_GET_FLAGS + 1, wanted, name=interface)
        if _ask(_GET_FLAGS, name=interface) != wanted:
            raise RuntimeError(f"{interface} carries tags as it pleases")

    node.call(change)


def set_offload(node: Node, name: str, *, on: bool) -> None:
    """Switch "gro", "gso" or "tso" of a node's `eth0` on or off."""
    node.call(lambda: _ask(_GET[name] + 1, on))


def offload(node: Node, name: str) -> bool:
    """Return whether one of them is on."""
    return bool(node.call(lambda: _ask(_GET[name])))


def _ask(command: int, argument: int = 0, *, name: str = "eth0") -> int:
    value = (ctypes.c_uint32 * 2)(command, argument)  # struct ethtool_value
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))  # struct ifreq
    with socket.socket() as one:
        fcntl.ioctl(one, _SIOCETHTOOL, request)
    return value[1]
