"""Interfaces that are no NICs: each request has one answer, by the host that the hash says.

Bonds and VLAN devices are not here: the kernels that the tests run on may have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clusterip import bucket
from lab import traffic
from lab.namespace import Namespace
from lab.servers import HTTP_PORT, nginx
from lab.snooping import snoop
from lab.topology import CLUSTER_MAC, VIP, lab
from tests.lan.cluster import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.topology import Host, Lab, Node

SHARING = Sharing()


@pytest.fixture
def own(_able: None) -> Iterator[Lab]:
    """A lab of the test's own, for its interfaces are changed."""
    with lab() as made:
        yield made


@pytest.fixture(scope="module")
def shared(_able: None) -> Iterator[Lab]:
    """A host for tests that give it back as it was."""
    with lab(hosts=1) as made:
        yield made


def run(node: Namespace, *lines: str) -> None:
    for line in lines:
        node.run(*line.split())


def addressed(node: Node, device: str) -> None:
    run(node, *(f"ip address add {address}/16 dev {device}" for address in node.addresses))


def share_on(lan: Lab, device: str) -> None:
    def one(host: Host) -> None:
        rule = [device if word == "eth0" else word for word in SHARING.new(host.number)]
        host.clusterip("iptables", "-A", *rule)
        run(host, f"ip address add {VIP}/32 dev {device}")
        nginx(host, http=(HTTP_PORT,))

    lan.on_hosts(one)


def check_answers(lan: Lab) -> None:
    pings = traffic.ping(lan.client, VIP, 10)
    assert (pings.received, pings.duplicates) == (10, 0)
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, 48)
    expected = [
        f"h{bucket(SHARING.mode, 3, SHARING.hash_init, flow.source, flow.source_port)}"
        for flow in flows
    ]
    assert traffic.web_answers(lan.client, flows) == expected
    assert lan.client.neighbour(VIP).lower() == CLUSTER_MAC


def bridge(lan: Lab) -> str:
    """Put eth0 into a bridge that snoops, with the setting that the documentation tells."""
    for host in lan.hosts:
        run(
            host,
            "ip link add one type bridge",
            "ip address flush dev eth0",
            "ip link set eth0 master one",
            "ip link set one up",
            "ip link set one type bridge mcast_router 2",
        )
        snoop(host, "one")
        addressed(host, "one")
    return "one"


def vxlan(lan: Lab) -> str:
    for number, node in enumerate(lan.nodes, start=1):
        run(
            node,
            "ip address flush dev eth0",
            f"ip address add 192.0.2.{number}/24 dev eth0",
            "ip link add one type vxlan id 5 dstport 4789 group 239.5.5.5 dev eth0",
            "ip link set one up",
        )
        addressed(node, "one")
    return "one"


def macvlan(lan: Lab) -> str:
    """Put a macvlan into the host's namespace, as containers have it; its parent is outside."""
    for host in lan.hosts:
        outside = Namespace("outside", f"{host.full_name}-outside", lan.directory)
        run(lan.switch, f"ip netns add {outside.full_name}")
        run(host, f"ip link set eth0 netns {outside.full_name}")
        run(
            outside,
            "ip link set eth0 up",
            "ip link add one link eth0 type macvlan mode bridge",
            f"ip link set one netns {host.full_name}",
        )
        # Nor does a namespace that routes pass its copies on.
        outside.call(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        run(host, "ip link set one up")
        addressed(host, "one")
    return "one"


@pytest.mark.parametrize("layout", [bridge, macvlan, vxlan])
def test_one_answer(own: Lab, layout: Callable[[Lab], str]) -> None:
    device = layout(own)
    share_on(own, device)
    (shown,) = own.hosts[0].show()["interfaces"]
    assert shown["interface"] == device
    assert (shown["tc"], shown["xdp"]["attached"]) == (True, False)
    assert "the driver has no native XDP here" in shown["xdp"]["note"]
    check_answers(own)


def test_a_second_interface_on_the_segment(own: Lab) -> None:
    """It takes in what is flooded, and nobody answers through it."""
    for host in own.hosts:
        run(
            own.switch,
            f"ip link add second{host.number} type veth peer name eth1 netns {host.full_name}",
            f"ip link set second{host.number} master br0 up",
        )
        run(host, "ip link set eth1 up")
    share_on(own, "eth0")
    check_answers(own)


@pytest.mark.parametrize(
    ("made", "device", "told"),
    [
        ("ip link set eth0 master over", "eth0", "eth0 is a part of over, which takes its frames"),
        (
            "ip link add one link eth0 type macvlan",
            "one",
            "eth0 is in this network namespace and gets each frame of one (macvlan) too",
        ),
        (
            "ip link add one link eth0 type macvtap",
            "one",
            "the frames of one (macvtap) are for a virtual machine",
        ),
        ("ip tuntap add dev one mode tun", "one", "one is not an Ethernet interface"),
        ("ip link set lo up", "lo", "lo is not an Ethernet interface"),
    ],
    ids=["port", "macvlan", "macvtap", "tun", "lo"],
)
def test_refused(shared: Lab, made: str, device: str, told: str) -> None:
    host = shared.hosts[0]
    run(host, "ip link add over type bridge")
    try:
        run(host, made)
        rule = [device if word == "eth0" else word for word in SHARING.new(1)]
        done = host.clusterip("iptables", "-A", *rule, check=False)
        assert done.returncode == 1
        assert told in done.stderr
        assert "cure: " in done.stderr
    finally:
        run(host, "ip link delete over")
        if device == "one":
            run(host, "ip link delete one")
