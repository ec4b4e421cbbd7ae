"""Network interfaces: what is there, their addresses, and the addresses their filter lets in.

Addresses go through netlink; the filter is that of macfilter.

An IP group is joined by having its address, as `ip address add GROUP dev DEV autojoin` does: the
kernel itself is the member then, without a process, and answers the queries of switches.

No address that is added here is the source of what this host begins by itself, in whatever order
addresses come: answers would go to another host of the cluster. Linux takes
- no IPv4 address of host scope for a destination beyond this host (inet_select_addr). It answers
  ARP for one and lets programs have it like any other; with arp_ignore=3 alone it does not;
- no IPv6 address whose preferred lifetime is over, as long as there is another (RFC 6724, 5).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, Protocol

import msgspec

from clusterip.adapters import configured, macfilter, netlink
from clusterip.adapters.configured import FOREVER, Configured, How, Told
from clusterip.adapters.linkwatch import IFF_RUNNING, IFF_UP
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.model import Mac

_GETLINK: Final = 18  # RTM_GETLINK
_HEAD: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_IFNAME, _LINK, _MASTER, _LINKINFO, _EXT_MASK, _NETNSID = 3, 5, 10, 18, 29, 37  # IFLA_...
_INFO_KIND, _INFO_SLAVE_KIND = 1, 4  # IFLA_INFO_...
_SKIP_STATS: Final = 8
_ARPHRD_ETHER: Final = 1
_IFA_F_NODAD: Final = 2
_IFA_F_NOPREFIXROUTE: Final = 0x200
_IFA_F_MCAUTOJOIN: Final = 0x400
_RT_SCOPE_HOST: Final = 254
COPIES: Final = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
"""Kinds that get copies of multicast frames, which their parent then takes as its own."""
_MEMBERSHIP: Final = struct.Struct("=16sI")  # struct ipv6_mreq
_BESIDE: Final = How(31, _IFA_F_NOPREFIXROUTE, _RT_SCOPE_HOST)
"""How an IPv4 address is there for a second time."""


class Link(msgspec.Struct, frozen=True):
    """An interface of this network namespace. `ethernet` says whether it has Ethernet framing.

    `up` is what an administrator says of it; one that is `running` has a carrier, too.
    `kind` is what `ip link show type` takes, empty for a NIC. `master` is the bridge or bond that
    takes its frames, `parent` the interface whose frames it gets copies of, `vrf` what routes for
    it; each a name, empty for none in this namespace.
    """

    index: int
    name: str
    ethernet: bool = True
    up: bool = True
    kind: str = ""
    master: str = ""
    parent: str = ""
    vrf: str = ""
    running: bool = True


class Links(Protocol):
    """What there is and what can be changed."""

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces of this namespace."""

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""

    def as_added(self, index: int) -> frozenset[Address]:
        """Return those of them that are there as `add_address` would have them."""

    def configured(self) -> tuple[Configured, ...]:
        """Return every address of every interface."""

    def take_off(self, one: Configured) -> None:
        """Remove an address whatever its prefix, and no other; nothing happens if it is gone."""

    def add_address(self, index: int, address: Address) -> None:
        """Add the address alone, without a network; nothing happens if it is there as it should.

        One that is there otherwise, put by an earlier version, say, is changed, and is there all
        the while. A group, such as 239.127.0.32, is joined. RefusedError where a limit set here
        forbids it.
        """

    def remove_address(self, index: int, address: Address) -> None:
        """Remove what `add_address` adds; nothing happens if it is not there."""

    def macs(self, index: int) -> frozenset[Mac]:
        """Return the multicast addresses that an administrator, or we, added to the filter."""

    def add_mac(self, link: Link, mac: Mac) -> None:
        """Let frames to a multicast address in; nothing happens if they are let in already."""

    def remove_mac(self, link: Link, mac: Mac) -> None:
        """Take back `add_mac`; nothing happens if it was not called."""


def _links() -> Iterator[Link]:
    """Read what netlink tells of the interfaces of this namespace."""
    head = _HEAD.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    briefly = netlink.attribute(_EXT_MASK, _SKIP_STATS.to_bytes(4, "little"))
    messages = [
        (_HEAD.unpack_from(body), netlink.attributes(body[_HEAD.size :]))
        for body in netlink.listed(_GETLINK, head + briefly, "ip link")
    ]
    names = {index: netlink.text(some[_IFNAME]) for (_, _, index, _, _), some in messages}
    for (_, type_, index, flags, _), some in messages:
        info = netlink.attributes(some.get(_LINKINFO, b""))
        kind = netlink.text(info.get(_INFO_KIND))
        # A VRF only routes: what it is the master of keeps its frames.
        routed = netlink.text(info.get(_INFO_SLAVE_KIND)) == "vrf"
        copied = kind in COPIES and _NETNSID not in some
        master = _name(some.get(_MASTER), names)
        yield Link(
            index,
            names[index],
            type_ == _ARPHRD_ETHER,
            bool(flags & IFF_UP),
            kind,
            "" if routed else master,
            _name(some.get(_LINK), names) if copied else "",
            master if routed else "",
            bool(flags & IFF_RUNNING),
        )


def _name(index: bytes | None, names: Mapping[int, str]) -> str:
    return names.get(netlink.number(index), "")


def _how(address: Address) -> How:
    """Return how an address is added: so that nothing is sent from it by itself.

    Other hosts of the cluster have it too, which duplicate address detection would take for a
    fault.
    """
    join = _IFA_F_MCAUTOJOIN if address.is_multicast else 0
    if isinstance(address, IPv6Address):
        return How(128, _IFA_F_NODAD | join, preferred=0)
    return How(32, join, _RT_SCOPE_HOST)


def as_ours(one: Configured) -> bool:
    """Tell whether it is there as `add_address` adds it, or as long as that changes another one."""
    beside = (_BESIDE.prefix, _BESIDE.scope)
    alone = one.prefix == one.address.max_prefixlen
    return one.peer is None and (alone or (one.prefix, one.scope) == beside)


def _is_as_added(one: Told) -> bool:
    how = _how(one.address)
    if one.peer or one.prefix != how.prefix:
        return False
    if one.address.version == 4:
        return one.scope == how.scope
    return (one.preferred, one.valid) == (how.preferred, FOREVER)


def _refuse(address: Address, code: int) -> None:
    """Raise RefusedError where the administrator has set a limit that an address is beyond."""
    if address.is_multicast:
        what, other = f"the group {address} cannot be joined", ", or give VIPs the default MACs"
    else:
        what, other = f"the address {address} cannot be added", ""
    # Linux counts all groups of a namespace that are joined in this way as those of one socket.
    faults = {
        (4, errno.ENOBUFS): (
            "it would be one too many",
            "sysctl net.ipv4.igmp_max_memberships=256",
        ),
        (6, errno.EACCES): (
            "IPv6 is off on the interface",
            "sysctl net.ipv6.conf.DEVICE.disable_ipv6=0",
        ),
        (6, errno.EADDRINUSE): (
            "Linux forgot that it is a member and cannot join again",
            "make the interface anew",
        ),
    }
    fault = faults.get((address.version, code))
    if fault is not None:
        raise RefusedError(f"{what}: {fault[0]}", f"{fault[1]}{other}")


def _is_member(index: int, group: IPv6Address) -> bool:
    # Columns: ifindex, name, group, users, flags, timer.
    lines = Path("/proc/thread-self/net/igmp6").read_bytes().splitlines()
    rows = (line.split() for line in lines)
    return (str(index).encode(), group.packed.hex().encode()) in {(row[0], row[2]) for row in rows}


def _joined(index: int, group: IPv6Address) -> socket.socket:
    """Return a socket that is a member of the group as long as it is open."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        request = _MEMBERSHIP.pack(group.packed, index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    except OSError:
        one.close()
        raise
    return one


def _asked(verb: str, index: int, address: Address, how: How, *harmless: int) -> bool:
    """Do it; say whether it was done, or not for one of these reasons."""
    try:
        configured.change(verb, index, address, how)
    except OSError as error:
        if error.errno in harmless:
            return False
        if verb == "add":
            _refuse(address, error.errno or 0)
        raise
    return True


class NetlinkLinks:
    """The interfaces of the network namespace this process is in.

    `lasting` says that the process stays for as long as what it adds, as a daemon does: where the
    kernel cannot be the member of an IPv6 group any more, it is one itself.
    """

    def __init__(self, *, lasting: bool = False) -> None:
        self._lasting = lasting
        self._joined: dict[tuple[int, Address], socket.socket] = {}

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces of this namespace."""
        return tuple(_links())

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""
        return frozenset(one.address for one in configured.told() if one.interface == index)

    def as_added(self, index: int) -> frozenset[Address]:
        """Return those of them that are there as `add_address` would have them."""
        there = (one for one in configured.told() if one.interface == index)
        return frozenset(one.address for one in there if _is_as_added(one))

    def configured(self) -> tuple[Configured, ...]:
        """Return every address of every interface."""
        return configured.read()

    def take_off(self, one: Configured) -> None:
        """Remove an address whatever its prefix, and no other; nothing happens if it is gone."""
        configured.take_off(one)

    def add_address(self, index: int, address: Address) -> None:
        """Add the address alone, without a network; nothing happens if it is there as it should."""
        how = _how(address)
        if _asked("add", index, address, how, errno.EEXIST, errno.EADDRINUSE):
            return
        if address not in self.addresses(index):
            self._join_again(index, address, how)
        elif address not in self.as_added(index):
            self._change(index, address, how)

    @staticmethod
    def _change(index: int, address: Address, how: How) -> None:
        if isinstance(address, IPv6Address):
            _asked("replace", index, address, how)
            return
        # The scope of an IPv4 address never changes. Without the last one an interface loses its
        # routes, and packets to a VIP would be lost: so it is there twice meanwhile.
        _asked("add", index, address, _BESIDE, errno.EEXIST)
        _asked("del", index, address, how, errno.EADDRNOTAVAIL)
        _asked("add", index, address, how, errno.EEXIST)
        _asked("del", index, address, _BESIDE, errno.EADDRNOTAVAIL)

    def _join_again(self, index: int, group: Address, how: How) -> None:
        """Join what the kernel takes for joined, though the address is not there any more."""
        if isinstance(group, IPv6Address):
            # The kernel forgets addresses when a link goes down, and remains a member as a rule.
            if not _is_member(index, group):
                if not self._lasting:
                    _refuse(group, errno.EADDRINUSE)
                self._leave(index, group)
                self._joined[index, group] = _joined(index, group)
            return
        # It leaves the group of an address that goes, however that came.
        plain = how._replace(flags=0)
        _asked("add", index, group, plain, errno.EEXIST)
        _asked("del", index, group, plain, errno.EADDRNOTAVAIL)
        _asked("add", index, group, how, errno.EEXIST)

    def _leave(self, index: int, group: Address) -> None:
        one = self._joined.pop((index, group), None)
        if one is not None:
            one.close()

    def remove_address(self, index: int, address: Address) -> None:
        """Remove what `add_address` adds; nothing happens if it is not there."""
        self._leave(index, address)
        # A change of an IPv4 address may have been interrupted.
        others = () if isinstance(address, IPv6Address) else (_BESIDE,)
        try:
            for how in (_how(address), *others):
                _asked("del", index, address, how, errno.EADDRNOTAVAIL)
        except PermissionError:
            if address in self.addresses(index):
                raise

    def macs(self, index: int) -> frozenset[Mac]:
        """Return the multicast addresses that an administrator, or we, added to the filter."""
        return macfilter.read(index)

    def add_mac(self, link: Link, mac: Mac) -> None:
        """Let frames to a multicast address in; nothing happens if they are let in already."""
        macfilter.add(link.name, mac)

    def remove_mac(self, link: Link, mac: Mac) -> None:
        """Take back `add_mac`; nothing happens if it was not called."""
        if mac in self.macs(link.index):
            macfilter.remove(link.name, mac)


class FakeLinks(msgspec.Struct):
    """Interfaces in memory, for tests: the same rules without a kernel."""

    links: list[Link] = msgspec.field(default_factory=list)
    by_index: dict[int, set[Address]] = msgspec.field(default_factory=dict)
    otherwise: dict[int, set[Address]] = msgspec.field(default_factory=dict)
    """Those of the addresses that are not there as `add_address` would have them."""
    filters: dict[int, set[Mac]] = msgspec.field(default_factory=dict)
    strange: set[Configured] = msgspec.field(default_factory=set)
    """Addresses with a network or a peer, which only others add."""

    def all(self) -> tuple[Link, ...]:
        """Return the interfaces."""
        return tuple(self.links)

    def addresses(self, index: int) -> frozenset[Address]:
        """Return the addresses of an interface."""
        return frozenset(self.by_index.get(index, ()))

    def as_added(self, index: int) -> frozenset[Address]:
        """Return those that are there as they should."""
        return self.addresses(index) - self.otherwise.get(index, set())

    def configured(self) -> tuple[Configured, ...]:
        """Return every address of every interface."""
        by_index = self.by_index.items()
        plain = ((index, address) for index, addresses in by_index for address in addresses)
        return (*(Configured(at, one, one.max_prefixlen) for at, one in plain), *self.strange)

    def take_off(self, one: Configured) -> None:
        """Remove an address."""
        self.strange.discard(one)
        if one.prefix == one.address.max_prefixlen and one.peer is None:
            self.remove_address(one.index, one.address)

    def add_address(self, index: int, address: Address) -> None:
        """Add an address."""
        self.by_index.setdefault(index, set()).add(address)
        self.otherwise.get(index, set()).discard(address)

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
