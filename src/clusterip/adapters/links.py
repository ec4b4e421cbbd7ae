"""Network interfaces: what is there, their addresses, and the addresses their filter lets in.

Addresses go through netlink. The filter for link-layer multicast has no netlink call; it is set
as `ip maddress add` does, by ioctl (netdevice(7)), and read from /proc/net/dev_mcast.

An IP group is joined by having its address, as `ip address add GROUP dev DEV autojoin` does: the
kernel itself is the member then, without a process, and answers the queries of switches.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, Protocol

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.model import Mac

_SIOCADDMULTI: Final = 0x8931
_SIOCDELMULTI: Final = 0x8932
_ARPHRD_ETHER: Final = 1
_IFA_F_NODAD: Final = 2
_IFA_F_MCAUTOJOIN: Final = 0x400
_RT_SCOPE_HOST: Final = 254
COPIES: Final = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
"""Kinds that get copies of multicast frames, which their parent then takes as its own."""

_FOREVER: Final = 0xFFFFFFFF
_IFREQ: Final = struct.Struct("16sH14s8x")  # struct ifreq with a sockaddr in it


@dataclass(frozen=True)
class Link:
    """An interface of this network namespace. `ethernet` says whether it has Ethernet framing.

    `kind` is what `ip link show type` takes, empty for a NIC. `master` is the bridge or bond that
    takes its frames, `parent` the interface whose frames it gets copies of; each a name, empty
    for none in this namespace.
    """

    index: int
    name: str
    ethernet: bool = True
    up: bool = True
    kind: str = ""
    master: str = ""
    parent: str = ""


class Links(Protocol):
    """What there is and what can be changed."""

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces of this namespace."""

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""

    def add_address(self, index: int, address: Address) -> None:
        """Add the address alone, without a network; nothing happens if it is there.

        A group, such as 239.127.0.32, is joined. RefusedError where a limit set here forbids it.
        """

    def remove_address(self, index: int, address: Address) -> None:
        """Remove what `add_address` adds; nothing happens if it is not there."""

    def macs(self, index: int) -> frozenset[Mac]:
        """Return the multicast addresses that an administrator, or we, added to the filter."""

    def add_mac(self, link: Link, mac: Mac) -> None:
        """Let frames to a multicast address in; nothing happens if they are let in already."""

    def remove_mac(self, link: Link, mac: Mac) -> None:
        """Take back `add_mac`; nothing happens if it was not called."""


def _link(message: Any, names: Mapping[int, str]) -> Link:
    """Read what netlink tells of an interface; `names` are those of this namespace, by index."""
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
    # A VRF only routes: what it is the master of keeps its frames.
    routed = info is not None and info.get_attr("IFLA_INFO_SLAVE_KIND") == "vrf"
    elsewhere = message.get_attr("IFLA_LINK_NETNSID") is not None
    copied = kind in COPIES and not elsewhere
    return Link(
        message["index"],
        names[message["index"]],
        message["ifi_type"] == _ARPHRD_ETHER,
        bool(message["flags"] & 1),
        kind,
        "" if routed else names.get(message.get_attr("IFLA_MASTER"), ""),
        names.get(message.get_attr("IFLA_LINK"), "") if copied else "",
    )


def _how(address: Address) -> dict[str, int]:
    """Return how an address is added.

    A group is joined, and of host scope, so that nothing is sent from it. (No IPv6 source is ever
    a group.)

    Other hosts of the cluster have it too, which duplicate address detection would take for a
    fault. Linux must not choose an IPv6 VIP as the source of what this host begins, for answers
    would go to another: it does not take one whose preferred lifetime, in seconds, is over.
    """
    join = _IFA_F_MCAUTOJOIN if address.is_multicast else 0
    if isinstance(address, IPv6Address):
        return {
            "prefixlen": 128,
            "flags": _IFA_F_NODAD | join,
            "preferred_lft": 0,
            "valid_lft": _FOREVER,
        }
    if join:
        return {"prefixlen": 32, "flags": join, "scope": _RT_SCOPE_HOST}
    return {"prefixlen": 32}


def _refuse(address: Address, code: int) -> None:
    """Raise RefusedError where the administrator has set a limit that an address is beyond."""
    if address.is_multicast:
        what, other = f"the group {address} cannot be joined", ", or give VIPs the default MACs"
    else:
        what, other = f"the address {address} cannot be added", ""
    # Linux counts all groups of a namespace that are joined in this way as those of one socket.
    faults = {
        (4, errno.ENOBUFS): ("it would be one too many", "net.ipv4.igmp_max_memberships=256"),
        (6, errno.EACCES): ("IPv6 is off on the interface", "net.ipv6.conf.DEVICE.disable_ipv6=0"),
    }
    fault = faults.get((address.version, code))
    if fault is not None:
        raise RefusedError(f"{what}: {fault[0]}", f"sysctl {fault[1]}{other}")


class NetlinkLinks:
    """The interfaces of the network namespace this process is in."""

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces of this namespace."""
        with IPRoute() as route:
            messages = list(route.get_links())
        names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}
        return tuple(_link(message, names) for message in messages)

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""
        with IPRoute() as route:
            return frozenset(
                ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
                for message in route.get_addr(index=index)
            )

    def add_address(self, index: int, address: Address) -> None:
        """Add the address alone, without a network; nothing happens if it is there."""
        self._address("add", index, address, errno.EEXIST)

    def remove_address(self, index: int, address: Address) -> None:
        """Remove what `add_address` adds; nothing happens if it is not there."""
        self._address("del", index, address, errno.EADDRNOTAVAIL)

    @staticmethod
    def _address(verb: str, index: int, address: Address, harmless: int) -> None:
        try:
            with IPRoute() as route:
                route.addr(verb, index=index, address=str(address), **_how(address))
        except (NetlinkError, OSError) as error:
            # pyroute2 has an OSError for ENOBUFS alone.
            code = error.errno or 0 if isinstance(error, OSError) else error.code
            if code == harmless:
                return
            if verb == "add":
                _refuse(address, code)
            raise OSError(code, f"ip address {verb} {address}: {error}") from error

    def macs(self, index: int) -> frozenset[Mac]:
        """Return the multicast addresses that an administrator, or we, added to the filter."""
        # Columns: ifindex, name, users, how often added by hand (0 or 1), address.
        lines = Path("/proc/thread-self/net/dev_mcast").read_text(encoding="ascii").splitlines()
        rows = (line.split() for line in lines)
        return frozenset(Mac(row[4]) for row in rows if int(row[0]) == index and row[3] != "0")

    def add_mac(self, link: Link, mac: Mac) -> None:
        """Let frames to a multicast address in; nothing happens if they are let in already."""
        self._multicast(_SIOCADDMULTI, link, mac)

    def remove_mac(self, link: Link, mac: Mac) -> None:
        """Take back `add_mac`; nothing happens if it was not called."""
        if mac in self.macs(link.index):
            self._multicast(_SIOCDELMULTI, link, mac)

    @staticmethod
    def _multicast(request: int, link: Link, mac: Mac) -> None:
        # sa_family is AF_UNSPEC, as ip-maddress(8) has it.
        frame = _IFREQ.pack(link.name.encode(), 0, bytes(mac))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            fcntl.ioctl(one, request, frame)


@dataclass
class FakeLinks:
    """Interfaces in memory, for tests: the same rules without a kernel."""

    links: list[Link] = field(default_factory=list)
    by_index: dict[int, set[Address]] = field(default_factory=dict)
    filters: dict[int, set[Mac]] = field(default_factory=dict)

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces."""
        return tuple(self.links)

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""
        return frozenset(self.by_index.get(index, ()))

    def add_address(self, index: int, address: Address) -> None:
        """Add an address."""
        self.by_index.setdefault(index, set()).add(address)

    def remove_address(self, index: int, address: Address) -> None:
        """Remove an address."""
        self.by_index.get(index, set()).discard(address)

    def macs(self, index: int) -> frozenset[Mac]:
        """Return the multicast addresses let in."""
        return frozenset(self.filters.get(index, ()))

    def add_mac(self, link: Link, mac: Mac) -> None:
        """Let an address in."""
        self.filters.setdefault(link.index, set()).add(mac)

    def remove_mac(self, link: Link, mac: Mac) -> None:
        """Take an address out."""
        self.filters.get(link.index, set()).discard(mac)
