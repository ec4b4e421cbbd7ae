"""The link-layer filter of real interfaces. Whose entry it is decides."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from clusterip.adapters.links import Link, NetlinkLinks
from clusterip.core.packets.model import Mac
from tests.namespaces import ip

pytestmark = pytest.mark.root("network namespaces")

MAC = Mac("01005e000020")
# 224.1.2.3 has this link-layer address (RFC 1112).
GROUP, GROUP_MAC = "224.1.2.3", Mac("01005e010203")


def test_names_of_15_bytes(folder: Path, links: NetlinkLinks) -> None:
    ip("link add fifteen-letters type veth peer name other")
    link = next(link for link in links.all() if link.name == "fifteen-letters")
    links.add_mac(link, MAC)
    assert links.macs(link.index) == {MAC}
    links.remove_mac(link, MAC)
    assert links.macs(link.index) == frozenset()


@pytest.mark.parametrize("name", ["büro", "x\udcff", "a\x1cb"])
def test_names_of_any_bytes(folder: Path, links: NetlinkLinks, name: str) -> None:
    ip("link add before type veth peer name other")
    subprocess.run(["ip", "link", "set", "before", "name", os.fsencode(name), "up"], check=True)
    link = next(link for link in links.all() if link.name.startswith(name[0]))
    links.add_mac(link, MAC)
    assert links.macs(link.index) == {MAC}
    other = next(one for one in links.all() if one.name == "other")
    assert links.macs(other.index) == frozenset()
    links.remove_mac(link, MAC)
    assert links.macs(link.index) == frozenset()


def test_a_mac_comes_and_goes(eth0: Link, links: NetlinkLinks) -> None:
    before = ip("maddress show dev eth0")
    for _ in range(2):
        links.add_mac(eth0, MAC)
        assert links.macs(eth0.index) == {MAC}
    assert "01:00:5e:00:00:20 static" in ip("maddress show dev eth0")
    for _ in range(2):
        links.remove_mac(eth0, MAC)
        assert links.macs(eth0.index) == frozenset()
    assert ip("maddress show dev eth0") == before


def test_the_administrators_mac_is_seen(eth0: Link, links: NetlinkLinks) -> None:
    ip("maddress add 01:00:5e:00:00:20 dev eth0")
    ip("maddress add 01:00:5e:00:00:21 dev wire")
    assert links.macs(eth0.index) == {MAC}


def test_a_group_that_was_joined_is_not_added_by_hand(eth0: Link, links: NetlinkLinks) -> None:
    """It goes when the socket is closed, so it does not spare us an entry of our own."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        request = socket.inet_aton(GROUP) + bytes(4) + eth0.index.to_bytes(4, "little")
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        assert "01:00:5e:01:02:03" in ip("maddress show dev eth0")
        assert links.macs(eth0.index) == frozenset()
        links.add_mac(eth0, GROUP_MAC)
        assert links.macs(eth0.index) == {GROUP_MAC}
    assert links.macs(eth0.index) == {GROUP_MAC}
    assert "01:00:5e:01:02:03 static" in ip("maddress show dev eth0")
    links.remove_mac(eth0, GROUP_MAC)
    assert "01:00:5e:01:02:03" not in ip("maddress show dev eth0")


def test_ours_goes_and_the_joined_group_stays(eth0: Link, links: NetlinkLinks) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        request = socket.inet_aton(GROUP) + bytes(4) + eth0.index.to_bytes(4, "little")
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        before = ip("maddress show dev eth0")
        links.add_mac(eth0, GROUP_MAC)
        links.remove_mac(eth0, GROUP_MAC)
        assert ip("maddress show dev eth0") == before


def test_a_mac_for_what_is_not_there(folder: Path, links: NetlinkLinks) -> None:
    with pytest.raises(OSError, match="No such device"):
        links.add_mac(Link(9999, "eth9"), MAC)
    links.remove_mac(Link(9999, "eth9"), MAC)


def test_an_interface_that_is_down_keeps_its_filter(eth0: Link, links: NetlinkLinks) -> None:
    ip("link set eth0 down")
    links.add_mac(eth0, MAC)
    ip("link set eth0 up")
    assert links.macs(eth0.index) == {MAC}
