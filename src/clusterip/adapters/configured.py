"""Addresses as they are on interfaces, whoever added them: all of them, and taking one off."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from clusterip.adapters import netlink
from clusterip.core.address import Address

FOREVER: Final = 0xFFFFFFFF
"""A lifetime, in seconds, that does not end."""
_NEW, _DEL, _GET = 20, 21, 22  # RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR
_HEAD: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_LIFETIMES: Final = struct.Struct("=II8x")  # struct ifa_cacheinfo: preferred, valid
_ADDRESS, _LOCAL, _CACHEINFO, _FLAGS = 1, 2, 6, 8  # IFA_..., linux/if_addr.h
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERBS: Final = {
    "add": (_NEW, netlink.ONLY_NEW),
    "replace": (_NEW, netlink.CREATE | netlink.REPLACE),
    "del": (_DEL, 0),
}


class How(NamedTuple):
    """How an address is there: `flags` and `scope` are those of rtnetlink(7).

    `preferred` says for how many seconds more it may be a source of what begins here.
    """

    prefix: int
    flags: int = 0
    scope: int = 0
    preferred: int = FOREVER


class Told(NamedTuple):
    """What the kernel tells of an address; lifetimes are in seconds."""

    interface: int
    address: Address
    peer: Address | None
    prefix: int
    scope: int
    preferred: int
    valid: int


class Configured(msgspec.Struct, frozen=True):
    """An address as it is on an interface, with the prefix length it was added with.

    `dynamic` says that it has a lifetime, as DHCP and router advertisements give one; `peer` is
    the other end's address, None for most, and then the prefix is that one's (ip-address(8));
    `scope` is one of rtnetlink(7), 0 for the whole world.
    """

    index: int
    address: Address
    prefix: int
    dynamic: bool = False
    peer: Address | None = None
    scope: int = 0

    def __str__(self) -> str:
        """Return it as ip-address(8) has it."""
        peer = f" peer {self.peer}" if self.peer else ""
        return f"{self.address}{peer}/{self.prefix}"


def read() -> tuple[Configured, ...]:
    """Return every address of every interface."""
    return tuple(
        Configured(
            one.interface, one.address, one.prefix, one.valid != FOREVER, one.peer, one.scope
        )
        for one in told()
    )


def told() -> Iterator[Told]:
    """Yield what the kernel tells of every address of every interface."""
    for body in netlink.listed(_GET, _HEAD.pack(socket.AF_UNSPEC, 0, 0, 0, 0), "ip address"):
        family, prefix, _, scope, index = _HEAD.unpack_from(body)
        if family not in _FAMILIES.values():
            continue
        some = netlink.attributes(body[_HEAD.size :])
        there = ip_address(some.get(_ADDRESS) or some[_LOCAL])
        here = ip_address(some.get(_LOCAL) or some[_ADDRESS])
        info = some.get(_CACHEINFO)
        preferred, valid = _LIFETIMES.unpack_from(info) if info else (FOREVER, FOREVER)
        peer = None if there == here else there
        yield Told(index, here, peer, prefix, scope, preferred, valid)


def change(verb: str, index: int, address: Address, how: How) -> None:
    """Do what ip-address(8) calls `verb`: add, replace or del; OSError if it cannot be."""
    lifetimes = _LIFETIMES.pack(how.preferred, FOREVER)
    more = netlink.attribute(_FLAGS, how.flags.to_bytes(4, "little"))
    if how.preferred != FOREVER:
        more += netlink.attribute(_CACHEINFO, lifetimes)
    _ask(verb, index, (address, address), how, more, f"ip address {verb} {address}")


def take_off(one: Configured) -> None:
    """Remove an address whatever its prefix, and no other; nothing happens if it is gone."""
    # Linux compares the second one with the prefix: it is the peer's, where there is one.
    ends = (one.address, one.peer or one.address)
    try:
        with _keeping_secondaries(one.index):
            _ask("del", one.index, ends, How(one.prefix), b"", f"ip address del {one}")
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise


def _ask(
    verb: str, index: int, ends: tuple[Address, Address], how: How, more: bytes, purpose: str
) -> None:
    local, address = ends
    what, flags = _VERBS[verb]
    head = _HEAD.pack(_FAMILIES[local.version], how.prefix, how.flags & 0xFF, how.scope, index)
    body = netlink.attribute(_LOCAL, local.packed) + netlink.attribute(_ADDRESS, address.packed)
    netlink.ask(what, flags, head + body + more, purpose)


@contextlib.contextmanager
def _keeping_secondaries(index: int) -> Iterator[None]:
    """Let an IPv4 address that goes leave its network to the others (ip-sysctl.rst).

    Else Linux removes all addresses of a network with the one that came first.
    """
    before = ""
    with contextlib.suppress(OSError):
        name = socket.if_indextoname(index)
        setting = Path("/proc/sys/net/ipv4/conf", name, "promote_secondaries")
        before = setting.read_text(encoding="ascii")
        setting.write_text("1", encoding="ascii")
    try:
        yield
    finally:
        if before:
            with contextlib.suppress(OSError):
                setting.write_text(before, encoding="ascii")
