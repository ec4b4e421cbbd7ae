"""Neighbours that are asked for on a real interface, and what of that comes out of the wire."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_address

import pytest

from clusterip.adapters.links import Link
from clusterip.adapters.neighbours import ask_again
from tests.namespaces import ip, run

ARP, IPV6, SOLICITATION = 0x0806, 0x86DD, 135
NEAR, FAR, NEAR6, FAR6 = "10.9.0.1", "10.9.0.7", "2001:db8::1", "2001:db8::7"


def asks(frame: bytes) -> str:
    """Return whom a frame asks for, "" if it is none that does."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == ARP:
        return str(ip_address(frame[38:42]))
    return str(ip_address(frame[62:78])) if kind == IPV6 and frame[54] == SOLICITATION else ""


def asked(wire: socket.socket, whom: str) -> None:
    """Wait until somebody is asked for."""
    while asks(wire.recv(2000)) != whom:
        pass


@pytest.mark.parametrize(("near", "far"), [(NEAR, FAR), (NEAR6, FAR6)])
def test_they_are_asked_for_at_once_and_what_waits_goes_on(eth0: Link, near: str, far: str) -> None:
    version = "-6" if ":" in far else "-4"
    length = "64" if ":" in far else "24"
    run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
    ip(f"address replace {near}/{length} dev eth0 nodad")
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    family = socket.AF_INET6 if ":" in far else socket.AF_INET
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire,
        socket.socket(family, kind) as one,
    ):
        wire.bind(("wire", 3))
        wire.settimeout(5)
        one.sendto(b"that waits", (far, 9))
        asked(wire, far)
        began = time.monotonic()
        assert ask_again(eth0.index) == 1
        asked(wire, far)
        assert time.monotonic() - began < 0.9, "the kernel did by itself"
        run(*f"ip {version} neighbour replace {far} lladdr 02:00:00:00:00:07 dev eth0".split())
        while not wire.recv(2000).endswith(b"that waits"):
            pass


def test_others_stay_as_they_are(eth0: Link) -> None:
    ip(f"address replace {NEAR}/24 dev eth0")
    for state in ("reachable", "stale", "permanent", "failed"):
        run(*f"ip neighbour replace {FAR} lladdr 02:00:00:00:00:07 nud {state} dev eth0".split())
        before = ip("neighbour show nud all dev eth0")
        assert ask_again(eth0.index) == 0
        assert ip("neighbour show nud all dev eth0") == before


def test_an_interface_that_is_gone(eth0: Link) -> None:
    ip("link delete eth0")
    assert ask_again(eth0.index) == 0
