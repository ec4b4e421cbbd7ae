"""Clients and a router that had the VIP at another MAC: they are told, and get answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.capture import capturing
from lab.cluster import Cluster, cluster_file
from lab.topology import CLUSTER_MAC, VIP, lab
from lab.wait import eventually
from tests.lan.cluster import Sharing, append

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Lab, Node

VIP6 = "2001:db8::100"
STALE = "02:00:00:00:00:99"


@pytest.fixture
def own(_able: None) -> Iterator[Lab]:
    """Two hosts and a client, with IPv6."""
    with lab(hosts=2) as made:
        for number, node in enumerate(made.nodes, start=1):
            node.call(_ipv6)
            node.run(*f"ip address add 2001:db8::{number}/64 dev eth0 nodad".split())
        yield made


def _ipv6() -> None:
    for name in ("all", "default", "eth0"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")


def remember(node: Node, vip: str, nud: str = "reachable") -> None:
    """Have a node believe that the VIP is at another MAC."""
    words = f"ip neighbour replace {vip} lladdr {STALE} nud {nud} dev eth0"
    node.run(*words.split())


def answered(node: Node, vip: str) -> bool:
    """Ping once, for a second at most."""
    version = "-6" if ":" in vip else "-4"
    return node.run("ping", version, "-c", "1", "-W", "1", vip, check=False).returncode == 0


@pytest.mark.parametrize("nud", ["reachable", "stale", "permanent"])
def test_rules(own: Lab, nud: str) -> None:
    host = own.hosts[0]
    append(host, *Sharing(total=1).new(1))
    host.add_address(VIP)
    remember(own.client, VIP, nud)
    with capturing(own.client, "arp") as capture:
        told = host.clusterip("announce", VIP).stdout
    assert told == f"announced {VIP} at {CLUSTER_MAC} on eth0, 3 times, 1 s apart\n"
    said = [arp for arp in capture.arps() if arp.sender == VIP]
    assert [arp.operation for arp in said] == [1, 2] * 3
    assert {(arp.from_mac, arp.sender_mac) for arp in said} == {(host.mac, CLUSTER_MAC)}
    if nud == "permanent":
        assert own.client.neighbour(VIP) == STALE
    else:
        assert answered(own.client, VIP)
        assert own.client.neighbour(VIP) == CLUSTER_MAC


def test_refused(own: Lab) -> None:
    host = own.hosts[0]
    done = host.clusterip("announce", check=False)
    assert (done.returncode, "nothing is shared" in done.stderr) == (1, True)
    append(host, *Sharing(total=1).new(1))
    done = host.clusterip("announce", "10.9.0.7", check=False)
    assert (done.returncode, f"VIPs of this host: {VIP}" in done.stderr) == (1, True)
    assert host.clusterip("announce", "nobody", check=False).returncode == 2
    host.run("ip", "link", "set", "eth0", "down")
    done = host.clusterip("announce", check=False)
    assert (done.returncode, "Network is down" in done.stderr) == (4, True)


def test_a_daemon_announces_when_it_starts_and_after_a_flap(own: Lab) -> None:
    for vip in (VIP, VIP6):
        remember(own.client, vip)
    cluster = Cluster(own, cluster_file(own, vips=(VIP, VIP6), announce_interval="500ms"))
    with capturing(own.client, "arp or icmp6") as capture:
        cluster.start_all()
        cluster.settled(within=30.0)
        for vip in (VIP, VIP6):
            eventually(lambda: own.client.neighbour(vip) != STALE, within=2.0)  # noqa: B023
            assert own.client.neighbour(vip).startswith("01:00:5e")
            eventually(lambda: answered(own.client, vip), within=5.0)  # noqa: B023
    froms = {arp.from_mac for arp in capture.arps() if arp.sender == VIP}
    assert {host.mac for host in own.hosts} <= froms
    host = own.hosts[0]
    before = host.show()["interfaces"][0]["verdicts"]["arp_rewritten"]
    for vip in (VIP, VIP6):
        remember(own.client, vip)
    host.run("ip", "link", "set", "eth0", "down")
    host.run("ip", "link", "set", "eth0", "up")
    # Linux forgot this one, and the way to the client with it.
    host.run(*["ip", "address", "add", "2001:db8::1/64", "dev", "eth0", "nodad"])
    for vip in (VIP, VIP6):
        eventually(lambda: own.client.neighbour(vip) != STALE, within=2.0)  # noqa: B023
    assert host.show()["interfaces"][0]["verdicts"]["arp_rewritten"] > before
    for vip in (VIP, VIP6):
        remember(own.client, vip)
    told = json.loads(own.hosts[1].clusterip("announce", "--json").stdout)["announced"]
    assert [(one["vip"], one["count"], one["interval_seconds"]) for one in told] == [
        (VIP, 3, 0.5),
        (VIP6, 3, 0.5),
    ]
    for vip in (VIP, VIP6):
        assert answered(own.client, vip)
    for one in own.hosts:
        cluster.kill(one)
