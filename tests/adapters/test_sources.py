"""No datagram leaves from a VIP, whatever becomes of the addresses.

eth0 10.9.0.1 ── 10.9.0.2 wire     in the namespace of the test, and in that of a thread
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import if_nametoindex

import pytest

from clusterip.adapters.datagrams import UdpDatagrams
from clusterip.adapters.sources import NoSourceError, Sources
from tests.adapters.test_datagrams import FAR, NEAR, PORT, Far, arrived, far
from tests.namespaces import ip, own_namespace

pytestmark = pytest.mark.root("network namespaces")
__all__ = ["far"]

VIP, VIPS = "10.9.0.100", ("10.9.0.100", "10.9.0.101")


@pytest.fixture
def sources() -> Iterator[Sources]:
    with own_namespace():
        yield Sources(VIPS)


@pytest.mark.parametrize("form", ["/32", "/24", "/24 noprefixroute", "/16"])
def test_the_vip_came_first(sources: Sources, form: str) -> None:
    ip("address flush dev eth0")
    for vip in VIPS:
        ip(f"address add {vip}{form} dev eth0")
    with pytest.raises(NoSourceError):
        sources.on_link(if_nametoindex("eth0"))
    ip("address add 10.9.0.1/24 dev eth0")
    assert sources.on_link(if_nametoindex("eth0")) == "10.9.0.1"
    ip("route replace 10.9.0.0/24 dev eth0")
    assert sources.towards("10.9.0.2") == "10.9.0.1"
    ip("route replace 10.9.0.0/24 dev eth0 src 10.9.0.100")
    ip("route add default dev eth0 src 10.9.0.101")
    assert sources.towards("10.9.0.2") == "10.9.0.1"
    assert sources.towards("192.0.2.1") == "10.9.0.1"


def test_several_addresses(sources: Sources) -> None:
    ip("address add 10.9.0.3/24 dev eth0")
    ip("address add 192.168.7.1/24 dev eth0")
    ip("address add 172.16.0.1/24 dev wire")
    # As Linux would choose.
    assert sources.on_link(if_nametoindex("eth0")) == "10.9.0.1"
    assert sources.towards("192.168.7.9") == "192.168.7.1"
    assert sources.towards("172.16.0.9") == sources.on_link(if_nametoindex("wire")) == "172.16.0.1"
    ip("route replace 192.168.7.0/24 dev eth0 src 10.9.0.1")
    assert sources.towards("192.168.7.9") == "10.9.0.1"
    # In the network that it is for, where the route says a VIP.
    ip(f"address add {VIP}/32 dev eth0")
    ip(f"route replace 192.168.7.0/24 dev eth0 src {VIP}")
    assert sources.towards("192.168.7.9") == "192.168.7.1"


def test_the_least_of_them_last(sources: Sources) -> None:
    ip("address flush dev eth0")
    ip("address add 10.9.0.5/24 dev eth0 preferred_lft 0")
    assert sources.on_link(if_nametoindex("eth0")) == "10.9.0.5"
    ip("address add 192.168.7.1/24 dev eth0")
    assert sources.on_link(if_nametoindex("eth0")) == "192.168.7.1"


def test_what_is_no_source(sources: Sources) -> None:
    ip("address flush dev eth0")
    ip("address add 10.9.0.77/32 dev eth0 scope host")  # a VIP of another cluster, say
    ip("address add 239.127.0.32/32 dev eth0 scope host autojoin")
    ip("address add 172.16.0.1/24 dev wire")
    with pytest.raises(NoSourceError):
        sources.on_link(if_nametoindex("eth0"))
    with pytest.raises(OSError, match="No such device"):
        sources.on_link(9999)
    with pytest.raises(OSError, match="unreachable"):
        sources.towards("192.0.2.1")
    ip("route add 192.0.2.0/24 dev eth0")
    assert sources.towards("192.0.2.1") == "172.16.0.1"
    ip("address flush dev wire")
    with pytest.raises(NoSourceError):
        sources.towards("192.0.2.1")


def test_a_host_that_sends_packets_for_127_elsewhere(sources: Sources) -> None:
    """Then Linux itself prefers the VIP."""
    Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    ip(f"address add {VIP}/32 dev eth0 scope host")
    ip("route add 192.0.2.0/24 dev eth0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("192.0.2.1", 9))
        assert one.getsockname()[0] == VIP
    assert sources.towards("192.0.2.1") == sources.on_link(if_nametoindex("eth0")) == "10.9.0.1"


def test_more_addresses_than_fit_an_answer(sources: Sources) -> None:
    for third in range(4):
        for last in range(1, 255):
            ip(f"address add 172.16.{third}.{last}/32 dev wire")
    assert sources.on_link(if_nametoindex("wire")) == "172.16.0.1"
    assert len(list(sources._own(0))) == 1 + 4 * 254


@pytest.mark.parametrize("broadcast", [True, False])
def test_an_address_that_goes_and_comes(far: Far, broadcast: bool) -> None:
    """As with DHCP and networkd: the VIP is the first meanwhile, and alone for a moment."""
    with (
        closing(UdpDatagrams(PORT, "eth0", VIPS)) as near,
        closing(far(UdpDatagrams, PORT, "wire")) as other,
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)) as tap,
    ):
        tap.bind(("eth0", 0x0003))
        tap.settimeout(5)
        near.aim([] if broadcast else [FAR], broadcast=broadcast)

        def left_from(what: bytes) -> str:
            near.send(what)
            while (packet := tap.recv(2048))[28:] != what:
                pass
            return socket.inet_ntoa(packet[12:16])

        ip(f"address add {VIP}/32 dev eth0")
        assert left_from(b"before") == NEAR
        ip(f"address delete {NEAR}/24 dev eth0")
        ip(f"route replace {FAR}/32 dev eth0")
        near.send(b"lost")
        assert (near.unsent, near.without_source) == (1, True)
        ip(f"address add {NEAR}/24 dev eth0")
        assert left_from(b"after") == NEAR
        assert (near.unsent, near.without_source) == (1, False)
        found: list[bytes] = []
        while len(found) < 2:
            found += arrived(other)
        assert found == [b"before", b"after"]
