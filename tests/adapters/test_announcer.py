"""Announcements on a real interface, as they come out of the wire."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from clusterip.adapters.announcer import PacketAnnouncer
from clusterip.adapters.links import Link
from clusterip.core.announcement import frames
from clusterip.core.config.mac import igmp_group
from clusterip.core.membership import report
from clusterip.core.packets.model import Mac
from tests.namespaces import ip

MAC = Mac("01005e000020")


@pytest.fixture
def announcer(eth0: Link) -> Iterator[PacketAnnouncer]:
    with contextlib.closing(PacketAnnouncer()) as one:
        yield one


@pytest.mark.parametrize("address", ["10.9.0.100", "2001:db8::100"])
def test_what_is_sent(eth0: Link, announcer: PacketAnnouncer, address: str) -> None:
    ip("link set eth0 address 02:00:00:00:00:07")
    ip("link set wire promisc on")
    vip = ip_address(address)
    expected = frames(vip, MAC, Mac("020000000007"))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind(("wire", 3))
        wire.settimeout(5)
        announcer.announce(eth0.index, vip, MAC)
        assert tuple(wire.recv(2000) for _ in expected) == expected


@pytest.mark.parametrize(
    ("address", "digits"), [("10.9.0.100", "01005e7f0020"), ("2001:db8::100", "333380000020")]
)
def test_a_membership_is_reported_first(
    eth0: Link, announcer: PacketAnnouncer, address: str, digits: str
) -> None:
    ip("link set eth0 address 02:00:00:00:00:07")
    ip("link set wire promisc on")
    vip, mac, nic = ip_address(address), Mac(digits), Mac("020000000007")
    group = igmp_group(mac)
    assert group is not None
    expected = (report(group, mac, nic), *frames(vip, mac, nic))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind(("wire", 3))
        wire.settimeout(5)
        announcer.announce(eth0.index, vip, mac)
        assert tuple(wire.recv(2000) for _ in expected) == expected


def test_where_nothing_can_be_sent(eth0: Link, announcer: PacketAnnouncer) -> None:
    vip = ip_address("10.9.0.100")
    ip("link set eth0 down")
    with pytest.raises(OSError, match="Network is down"):
        announcer.announce(eth0.index, vip, MAC)
    with pytest.raises(OSError, match="No such device"):
        announcer.announce(12345, vip, MAC)
