"""Another interface that comes while a daemon runs: the clients that it may have told are told."""

from __future__ import annotations

import select
import socket

import pytest

from tests.namespaces import ip
from tests.runtime.places import Place

pytestmark = pytest.mark.root("network namespaces")

ARP = 0x0806
VIP = socket.inet_aton("10.9.0.100")


def test_the_vips_are_announced_anew(place: Place) -> None:
    place.change('profile = "fast"', 'profile = "fast"\nannounce_count = 1')
    daemon = place.serving()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP)) as clients:
        clients.bind(("wire", ARP))
        # What is announced at the start is over.
        while select.select([clients], [], [], 1.0)[0]:
            clients.recv(100)
        ip("link add eth1 type veth peer name wire1")
        ip("link set wire1 up")
        ip("link set eth1 up")
        clients.settimeout(10.0)
        while clients.recv(100)[28:32] != VIP:
            pass
    assert daemon.stop() == 0
