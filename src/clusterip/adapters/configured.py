"""Addresses as they are on interfaces, whoever added them: all of them, and taking one off."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from clusterip.adapters.netlink import rtnetlink
from clusterip.core.address import Address

_FOREVER: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Configured:
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
    with rtnetlink("ip address") as route:
        return tuple(map(_configured, route.get_addr()))


def take_off(one: Configured) -> None:
    """Remove an address whatever its prefix, and no other; nothing happens if it is gone."""
    how = {
        "index": one.index,
        "local": str(one.address),
        # Linux compares this one with the prefix: it is the peer's, where there is one.
        "address": str(one.peer or one.address),
        "prefixlen": one.prefix,
    }
    try:
        with _keeping_secondaries(one.index), rtnetlink(f"ip address del {one}") as route:
            route.addr("del", **how)
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise


def _configured(message: Any) -> Configured:
    info = message.get_attr("IFA_CACHEINFO")
    address, peer = ends(message)
    return Configured(
        message["index"],
        address,
        message["prefixlen"],
        info is not None and info["ifa_valid"] != _FOREVER,
        peer,
        message["scope"],
    )


def ends(message: Any) -> tuple[Address, Address | None]:
    """Return the address that a message tells of, and its peer, None where it has none."""
    there = ip_address(message.get_attr("IFA_ADDRESS") or message.get_attr("IFA_LOCAL"))
    here = ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))
    return here, None if there == here else there


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
