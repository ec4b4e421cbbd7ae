"""Sending announcements of VIPs: whole frames through a packet socket (packet(7)).

Where the cluster MAC is a group's, that this interface is a member is reported first: switches that
bring such a MAC only to who wants it are to know by the time that clients ask.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from clusterip.core import announcement, membership
from clusterip.core.address import Address
from clusterip.core.config.mac import igmp_group
from clusterip.core.packets.model import Mac

_SIOCGIFNAME: Final = 0x8910
_SIOCGIFHWADDR: Final = 0x8927
_NAMED: Final = struct.Struct("16si20x")  # struct ifreq with an ifindex in it
_IFREQ: Final = struct.Struct("16sH6s16x")  # struct ifreq with a sockaddr in it


class Announcer(Protocol):
    """What announces VIPs on an interface."""

    def announce(self, index: int, vip: Address, mac: Mac) -> None:
        """Announce `vip` at `mac` once on the interface with that ifindex; never waits.

        The group of the MAC is reported, too. OSError where nothing can be sent: the interface is
        down, gone, or busy, or this host may not tell the MAC, for its lease is over.
        """

    def report(self, index: int, mac: Mac) -> None:
        """Report once to switches that snoop that `mac` is wanted here; never waits.

        Nothing happens where its frames go everywhere anyway; OSError as for `announce`.
        """


class PacketAnnouncer:
    """Announces from the network namespace of this process.

    The socket is made when the first is, for a witness needs none, and bound to no interface: to
    bind and to close one takes the kernel milliseconds.
    """

    def __init__(self) -> None:
        self._opened = contextlib.ExitStack()

    @cached_property
    def _socket(self) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        return self._opened.enter_context(socket.socket(socket.AF_PACKET, kind, 0))

    def announce(self, index: int, vip: Address, mac: Mac) -> None:
        """Announce `vip` once; see `Announcer.announce`."""
        self.report(index, mac)
        name, nic = self._named(index)
        self._send(name, announcement.frames(vip, mac, nic))

    def report(self, index: int, mac: Mac) -> None:
        """Report the group of a MAC once; see `Announcer.report`."""
        joined = igmp_group(mac)
        if joined:
            name, nic = self._named(index)
            self._send(name, (membership.report(joined, mac, nic),))

    def _named(self, index: int) -> tuple[str, Mac]:
        """Return the name and the own MAC of an interface."""
        # Not if_indextoname(3): that wants a descriptor, of which there may be none.
        named = fcntl.ioctl(self._socket, _SIOCGIFNAME, _NAMED.pack(b"", index))
        name = os.fsdecode(_NAMED.unpack(named)[0].rstrip(b"\0"))
        told = fcntl.ioctl(self._socket, _SIOCGIFHWADDR, _IFREQ.pack(os.fsencode(name), 0, b""))
        return name, Mac.of(_IFREQ.unpack(told)[2])

    def _send(self, name: str, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self._socket.sendto(frame, (name, int.from_bytes(frame[12:14], "big")))

    def close(self) -> None:
        """Close the socket."""
        self._opened.close()


@dataclass
class FakeAnnouncer:
    """Remembers what was announced, for tests; `error` is raised instead."""

    sent: list[tuple[int, Address, Mac]] = field(default_factory=list)
    reported: list[tuple[int, Mac]] = field(default_factory=list)
    error: OSError | None = None

    def announce(self, index: int, vip: Address, mac: Mac) -> None:
        """Remember an announcement."""
        if self.error is not None:
            raise self.error
        self.sent.append((index, vip, mac))

    def report(self, index: int, mac: Mac) -> None:
        """Remember a report."""
        if self.error is not None:
            raise self.error
        self.reported.append((index, mac))
