"""A change of the cluster MAC as docs/operations.md has it, host by host; NICs that filter.

Who serves nothing tells no MAC: clients go on with that of the hosts that serve, whatever they ask
anew, and learn the other as soon as the others serve.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from lab.capture import capturing
from lab.cluster import cluster_file
from lab.gaps import Gaps, Hashing
from lab.servers import UDP_PORT, nginx
from lab.topology import VIP, lab
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.clusters import say
from tests.lan.reuse import number, to_each_bucket
from tests.lan.test_ipv6 import CLIENT6, HOST6, VIP6, switch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Client, Host, Lab

OTHER = "01:00:5e:00:00:b0"
ASKED_ANEW = 5
LEARNT = 2.0
"""Seconds after which clients know the MAC of those who have taken over."""


@pytest.fixture
def filtering(_able: None) -> Iterator[Lab]:
    """Three hosts whose interface lets no frame in but to the MACs that it was told of."""
    with lab(hosts=3) as lan:
        for node in lan.nodes:
            switch(node, on=True)
        for host in lan.hosts:
            _behind_a_filter(lan, host)
            nginx(host)
        for address in CLIENT6:
            lan.client.run(*f"ip address add {address}/32 dev eth0 nodad".split())
        yield lan


def _behind_a_filter(lan: Lab, host: Host) -> None:
    """Give a host a macvlan for its veth: that compares the destination as NICs do."""
    port, mac = host.name, host.mac
    host.run(*["ip", "link", "del", "eth0"])
    for words in (
        f"link add {port} type veth peer name {port}p",
        f"link set {port} master br0 up",
        f"link set {port}p up",
        f"link add link {port}p name {port}m address {mac} type macvlan mode bridge",
        f"link set {port}m netns {host.full_name} name eth0",
    ):
        lan.switch.run("ip", *words.split())
    host.run(*["ip", "link", "set", "eth0", "up"])
    host.run(*f"ip address add {host.address}/16 dev eth0".split())
    host.run(*f"ip address add {HOST6}{host.number}/32 dev eth0 nodad".split())


def _flows(client: Client) -> list[tuple[int, str, int, str]]:
    """Return a flow for each bucket of each VIP."""
    return [
        (number(one), one.source, one.source_port, vip)
        for vip in (VIP, VIP6)
        for one in to_each_bucket(client, vip, UDP_PORT)
    ]


def _entries(lan: Lab) -> set[str]:
    return {lan.client.neighbour(vip) for vip in (VIP, VIP6)}


def test_host_by_host(filtering: Lab) -> None:
    lan = filtering
    first, second, third = lan.hosts
    cluster = Asked(lan, cluster_file(lan, vips=(VIP, VIP6)))
    cluster.start_all()
    cluster.settled(within=30.0)
    other = cluster_file(lan, vips=(VIP, VIP6), name="other.toml", mac=OTHER)
    cluster.stop(third)
    cluster.settled([first, second])
    cluster.file = other

    flows = _flows(lan.client)
    with capturing(lan.client, "arp or icmp6") as capture:
        gaps = Gaps(lan.client, VIP, Hashing(), interval=0.03, flows=flows)
        eventually(lambda: all(_entries(lan)), within=5.0)
        before = _entries(lan)
        cluster.start(third)
        eventually(
            lambda: [one["agrees"] for one in cluster.status(third)["nodes"]].count(False) == 2,
            within=10.0,
        )
        for _ in range(ASKED_ANEW):
            lan.client.run(*["ip", "neighbour", "flush", "all"])
            eventually(lambda: all(_entries(lan)), within=5.0)
            assert _entries(lan) == before
        refused = third.clusterip("announce", check=False)
        assert (refused.returncode, "this host answers nothing now" in refused.stderr) == (1, True)
        report = gaps.stop()
    assert OTHER not in {arp.sender_mac for arp in capture.arps()}
    say(f"measured: one host with another MAC: longest gap {report.longest:.3f} s")
    assert (report.excess, report.longest < 1.0) == (0, True)
    assert set(report.owners.values()) == {first.name, second.name}

    gaps = Gaps(lan.client, VIP, Hashing(), interval=0.03, flows=flows)
    began = time.monotonic()
    cluster.stop(second)
    cluster.start(second)
    cluster.settled([second, third], within=20.0)
    taken = time.monotonic() - began
    eventually(lambda: _entries(lan) == {OTHER}, within=5.0)
    cluster.stop(first)
    cluster.start(first)
    cluster.settled(within=20.0)
    report = gaps.stop()
    say(f"measured: the majority changes sides in {taken:.3f} s: gap {report.longest:.3f} s")
    assert (report.excess, report.longest < taken + LEARNT) == (0, True)
    assert "" not in report.owners.values()
