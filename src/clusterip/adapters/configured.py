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

    `dynamic` says that it has a lifetime, as DHCP and router advertisements give one.
    """

    index: int
    address: Address
    prefix: int
    dynamic: bool = False


def read() -> tuple[Configured, ...]:
    """Return every address of every interface."""
    with rtnetlink("ip address") as route:
        return tuple(map(_configured, route.get_addr()))


def take_off(one: Configured) -> None:
    """Remove an address whatever its prefix, and no other; nothing happens if it is gone."""
    how = {"index": one.index, "address": str(one.address), "prefixlen": one.prefix}
    try:
        with _keeping_secondaries(one.index), rtnetlink(f"ip address del {one.address}") as route:
            route.addr("del", **how)
    except OSError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
            raise


def _configured(message: Any) -> Configured:
    info = message.get_attr("IFA_CACHEINFO")
    return Configured(
        message["index"],
        ip_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")),
        message["prefixlen"],
        info is not None and info["ifa_valid"] != _FOREVER,
    )


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
