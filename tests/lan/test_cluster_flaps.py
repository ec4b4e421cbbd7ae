"""A link that flaps: the host is back with it, and no bucket is silent for longer than promised."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from lab.cluster import BUCKETS, cluster_file
from lab.gaps import Gaps, Hashing
from lab.servers import nginx
from lab.topology import VIP, lab
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.cluster import MODES, ask
from tests.lan.clusters import Site, in_time, patiently
from tests.lan.test_ipv6 import CLIENT6, HOST6, VIP6, predicted, switch
from tests.lan.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

MACS = {"default": "", "IGMP": "01:00:5e:01:02:03", "MLD": "33:33:80:00:00:20"}
SERVED_WITHIN = 1.0
"""What the default profile promises, in seconds."""


@contextlib.contextmanager
def _shared(mac: str) -> Iterator[Site]:
    """Build a lab whose hosts share a VIP of each kind by this cluster MAC."""
    with lab() as lan:
        for node in lan.nodes:
            switch(node, on=True)
        for host in lan.hosts:
            nginx(host)
            _address(host)
        for address in CLIENT6:
            lan.client.run(*f"ip address add {address}/32 dev eth0 nodad".split())
        file = cluster_file(lan, vips=(VIP6, VIP))
        if mac:
            text = file.read_text()
            for vip in (VIP6, VIP):
                line = f'address = "{vip}"'
                assert line in text
                text = text.replace(line, f'{line}\nmac = "{mac}"')
            file.write_text(text)
        cluster = Asked(lan, file)
        cluster.start_all()
        cluster.settled(within=30.0)
        yield Site(lan, cluster)
        cluster.stop_all()


def _address(host: Host) -> None:
    """Give a host its IPv6 address, as whatever manages its network does when the link is back."""
    host.run(*f"ip address replace {HOST6}{host.number}/32 dev eth0 nodad".split())


@pytest.fixture(scope="module", params=MACS)
def web(request: pytest.FixtureRequest) -> Iterator[Site]:
    with _shared(MACS[request.param]) as made:
        yield made


def _answers_both(web: Site) -> None:
    """Assert that each VIP is answered once, by the host that the hash says."""
    held = web.cluster.settled()
    web.lan.client.addresses, plain = CLIENT6, web.lan.client.addresses
    try:
        six = ask(web.lan, VIP6)
    finally:
        web.lan.client.addresses = plain
    assert six == predicted(MODES[1], six, held)
    four = ask(web.lan, VIP)
    assert four == predicted(MODES[1], four, held)


@pytest.mark.parametrize(
    ("times", "down", "up"), [(1, 0.01, 0.0), (1, 0.3, 0.0), (1, 2.0, 0.0), (10, 0.25, 0.25)]
)
def test_of_one_host(web: Site, times: int, down: float, up: float) -> None:
    host = web.lan.hosts[1]

    def scenario() -> None:
        web.cluster.settled()
        before = traces(host)
        gaps = Gaps(web.lan.client, VIP, Hashing(BUCKETS))
        for _ in range(times):
            host.run(*["ip", "link", "set", "eth0", "down"])
            time.sleep(down)
            host.run(*["ip", "link", "set", "eth0", "up"])
            _address(host)
            time.sleep(up)
        eventually(lambda: traces(host) == before, within=5.0, what="all to be put back")
        held = web.cluster.settled()
        seen = gaps.stop()
        assert held[host.name]
        assert seen.excess == 0
        in_time(f"{times} times {down} s: longest gap", seen.longest, SERVED_WITHIN)
        _answers_both(web)

    patiently(web, scenario)


@pytest.mark.parametrize(("times", "down", "up"), [(1, 0.3, 0.0), (10, 0.25, 0.25)])
def test_of_the_switch(web: Site, times: int, down: float, up: float) -> None:
    """All hosts lose their links at once, and have them again before their leases end."""
    names = [host.name for host in web.lan.hosts]
    lines = {
        state: "; ".join(f"ip link set {name} {state}" for name in names)
        for state in ("down", "up")
    }
    target = web.lan.hosts[0].address
    flow = [(1, web.lan.client.addresses[0], 40_000)]

    def scenario() -> None:
        held = web.cluster.settled()
        gaps = Gaps(web.lan.client, VIP, Hashing(BUCKETS))
        link = Gaps(web.lan.client, target, Hashing(1), flows=flow)
        for _ in range(times):
            web.lan.switch.run("sh", "-c", lines["down"])
            time.sleep(down)
            web.lan.switch.run("sh", "-c", lines["up"])
            time.sleep(up)
        assert web.cluster.settled() == held
        seen, there = gaps.stop(), link.stop()
        assert seen.excess == 0
        limit = there.longest + SERVED_WITHIN
        in_time(f"{times} times {down} s: longest gap", seen.longest, limit)

    patiently(web, scenario)


def test_of_what_it_must_let_be(web: Site) -> None:
    """Changes beside it that take addresses, or look as if they did."""
    host = web.lan.hosts[1]

    def scenario() -> None:
        web.cluster.settled()
        before = traces(host)
        for away, back in (
            ("ip link set eth0 address 02:00:00:00:00:77", f"ip link set eth0 address {host.mac}"),
            ("sysctl -qw net.ipv6.conf.eth0.keep_addr_on_down=1", "ip link set eth0 up"),
            ("ip link set eth0 down", "ip link set eth0 up"),
            (f"ip address del {VIP6}/128 dev eth0", "true"),
            (f"ip address del {VIP}/32 dev eth0", "true"),
        ):
            host.run(*away.split())
            host.run(*back.split())
            _address(host)
            eventually(lambda: traces(host) == before, within=5.0, what=f"{away}: to be put back")
        # While IPv6 is off here, others have what this host had, of IPv4 too.
        host.run(*["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"])
        web.cluster.settled(web.others(host))
        host.run(*["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0"])
        _address(host)
        web.cluster.settled()
        _answers_both(web)

    patiently(web, scenario)
