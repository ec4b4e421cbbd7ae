"""Nothing that this host begins leaves from an address that was added, whatever came first."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from clusterip.adapters.links import Link, NetlinkLinks
from clusterip.core.errors import RefusedError
from lab.wait import eventually
from tests.adapters.test_links import VIP, VIP6, moved_to
from tests.namespaces import ip, run

pytestmark = pytest.mark.root("network namespaces")

OWN, OWN6 = "10.9.0.1", "2001:db8::1"
FORMS = ("{own}/24", "{own}/32")
TARGETS = {
    "on the segment": "10.9.0.7",
    "over a router": "192.0.2.1",
    "on the link, without a source": "198.51.100.1",
    "over a router beyond the segment": "203.0.113.1",
    "to a group": "224.0.0.9",
}
ROUTES = (
    "route replace 10.9.0.0/24 dev eth0",
    "route replace 192.0.2.0/24 via 10.9.0.254 dev eth0 onlink",
    "route replace 198.51.100.0/24 dev eth0",
    "route replace 203.0.113.0/24 via 172.16.0.1 dev eth0 onlink",
)


def source(target: str) -> str:
    """Return where a connection to the target would begin."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.connect((target, 9))
        return str(one.getsockname()[0])


def ipv6_on() -> None:
    for name in ("eth0", "wire"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["address add", "address replace"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_ipv4(eth0: Link, links: NetlinkLinks, first: bool, how: str, form: str) -> None:
    ip("address flush dev eth0")
    own = f"{how} {form.format(own=OWN)} dev eth0"
    steps: list[Callable[[], object]] = [
        lambda: links.add_address(eth0.index, VIP),
        lambda: ip(own),
    ]
    for step in steps if first else reversed(steps):
        step()
    for route in ROUTES:
        ip(route)
    assert {name: source(target) for name, target in TARGETS.items()} == dict.fromkeys(TARGETS, OWN)
    assert source("255.255.255.255") == OWN
    # What is sent from it on purpose is.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind((str(VIP), 0))
        assert one.getsockname()[0] == str(VIP)


def test_ipv4_that_goes_and_comes(eth0: Link, links: NetlinkLinks) -> None:
    """As DHCP does, and networkd when it is started again."""
    links.add_address(eth0.index, VIP)
    for _ in range(2):
        ip(f"address delete {OWN}/24 dev eth0")
        ip(f"address add {OWN}/24 dev eth0")
        ip("route replace 198.51.100.0/24 dev eth0")
        assert source("198.51.100.1") == source("10.9.0.7") == OWN


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_ipv6(eth0: Link, links: NetlinkLinks, first: bool) -> None:
    ipv6_on()
    steps: list[Callable[[], object]] = [
        lambda: links.add_address(eth0.index, VIP6),
        lambda: ip(f"address add {OWN6}/64 dev eth0 nodad"),
    ]
    for step in steps if first else reversed(steps):
        step()
    ip("route replace 2001:db8:1::/64 dev eth0")
    ip("route replace 2001:db8:2::/64 via 2001:db8::fe dev eth0")
    for target in ("2001:db8::7", "2001:db8:1::7", "2001:db8:2::7"):
        assert source(target) == OWN6


@pytest.mark.parametrize("others", list(itertools.product((False, True), repeat=2)))
def test_one_that_an_earlier_version_put(
    eth0: Link, links: NetlinkLinks, others: tuple[bool, bool]
) -> None:
    """It changes in place: what routes need of it stays, also where it is the only address."""
    ipv6_on()
    ip("address flush dev eth0 scope global")
    for there, own in zip(others, (f"{OWN}/24", f"{OWN6}/64"), strict=True):
        if there:
            ip(f"address add {own} dev eth0")
    ip(f"address add {VIP}/32 dev eth0")
    ip(f"address add {VIP6}/128 dev eth0 nodad")
    ip("route replace 198.51.100.0/24 dev eth0")
    ip("route replace 192.0.2.0/24 via 198.51.100.1")
    # The kernel is done with an IPv6 address a little later.
    eventually(lambda: f"local {VIP6} " in ip("-6 route show table local dev eth0"))
    before = ip("route show table all dev eth0")
    assert links.as_added(eth0.index).isdisjoint({VIP, VIP6})
    for _ in range(2):
        for address in (VIP, VIP6):
            links.add_address(eth0.index, address)
            assert address in links.as_added(eth0.index)
    assert ip("route show table all dev eth0") == before
    shown = ip("-oneline address show dev eth0")
    assert shown.count(f"{VIP}/32 scope host") == shown.count(f"{VIP}/") == 1
    assert shown.count(f"{VIP6}/128") == 1
    for address in (VIP, VIP6):
        links.remove_address(eth0.index, address)
        assert address not in links.addresses(eth0.index)


@pytest.mark.parametrize(
    "left",
    [
        (f"{VIP}/32", f"{VIP}/31 scope host noprefixroute"),
        (f"{VIP}/31 scope host noprefixroute",),
        (f"{VIP}/31 scope host noprefixroute", f"{VIP}/32 scope host"),
    ],
    ids=["beside", "alone", "done"],
)
def test_a_change_that_was_interrupted(
    eth0: Link, links: NetlinkLinks, left: tuple[str, ...]
) -> None:
    own = links.addresses(eth0.index)
    for one in left:
        ip(f"address add {one} dev eth0")
    assert VIP in links.addresses(eth0.index)
    links.remove_address(eth0.index, VIP)
    assert links.addresses(eth0.index) == own
    for one in left:
        ip(f"address add {one} dev eth0")
    links.add_address(eth0.index, VIP)
    assert VIP in links.as_added(eth0.index)
    links.remove_address(eth0.index, VIP)
    assert links.addresses(eth0.index) == own


def test_the_administrators_is_left_as_it_is(eth0: Link, links: NetlinkLinks) -> None:
    ip(f"address add {VIP}/24 dev eth0")
    assert VIP not in links.as_added(eth0.index)
    assert VIP in links.addresses(eth0.index)


def test_one_that_is_not_preferred_for_a_while_only(eth0: Link, links: NetlinkLinks) -> None:
    ipv6_on()
    ip(f"address add {VIP6}/128 dev eth0 nodad preferred_lft 0 valid_lft 1000")
    assert VIP6 not in links.as_added(eth0.index)
    links.add_address(eth0.index, VIP6)
    assert VIP6 in links.as_added(eth0.index)
    assert "valid_lft forever preferred_lft 0sec" in ip(f"address show dev eth0 to {VIP6}")


GROUP6 = IPv6Address("ff15::8000:20")


def test_a_group_whose_address_the_kernel_forgot(eth0: Link, links: NetlinkLinks) -> None:
    """When the interface goes down: it is a member all the same, and cannot join again."""
    ipv6_on()
    for _ in range(3):
        links.add_address(eth0.index, GROUP6)
        ip("link set eth0 down")
        links.add_address(eth0.index, GROUP6)
        assert GROUP6 not in links.addresses(eth0.index)
        ip("link set eth0 up")
        links.add_address(eth0.index, GROUP6)
        assert str(GROUP6) in ip("maddress show dev eth0")
    links.remove_address(eth0.index, GROUP6)


def test_a_group_that_cannot_be_joined_again(eth0: Link, links: NetlinkLinks) -> None:
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("0")
    ipv6_on()
    links.add_address(eth0.index, GROUP6)
    # Too short for IPv6, which is off then, memberships and all.
    ip("link set eth0 mtu 1200")
    ip("link set eth0 mtu 1500")
    eventually(lambda: str(GROUP6) not in ip("maddress show dev eth0"))
    with pytest.raises(RefusedError, match="the group ff15::8000:20 cannot be joined: Linux forg"):
        links.add_address(eth0.index, GROUP6)
    # A daemon can be a member itself.
    lasting = NetlinkLinks(lasting=True)
    for _ in range(2):
        for _ in range(2):
            lasting.add_address(eth0.index, GROUP6)
            assert str(GROUP6) in ip("maddress show dev eth0")
        ip("link set eth0 mtu 1200")
        ip("link set eth0 mtu 1500")
        eventually(lambda: str(GROUP6) not in ip("maddress show dev eth0"))
    lasting.add_address(eth0.index, GROUP6)
    lasting.remove_address(eth0.index, GROUP6)
    assert str(GROUP6) not in ip("maddress show dev eth0")


def test_a_group_on_an_interface_that_was_away(eth0: Link, links: NetlinkLinks) -> None:
    """It comes back with its number, by which the kernel takes it for joined."""
    group = IPv4Address("239.127.0.32")
    here = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
    beside = subprocess.Popen(("unshare", "--net", "sleep", "60"))
    try:
        for _ in range(2):
            links.add_address(eth0.index, group)
            assert str(group) in ip("maddress show dev eth0")
            moved_to(beside.pid, "eth0")
            there = f"--net=/proc/{beside.pid}/ns/net"
            run("nsenter", there, "ip", "link", "set", "eth0", "netns", here)
            ip("link set eth0 up")
            assert socket.if_nametoindex("eth0") == eth0.index
            assert str(group) not in ip("maddress show dev eth0")
        links.add_address(eth0.index, group)
        links.remove_address(eth0.index, group)
        assert str(group) not in ip("maddress show dev eth0")
    finally:
        beside.kill()
        beside.wait()
