"""A switch that sends a cluster MAC only to ports that joined its group: our joins let it.

Without them, requests of the hosts that did not join are lost; with them none is.

And the Linux bridge, which knows no group where a VIP is asked: what its administrator can do.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import traffic
from lab.cluster import Cluster, cluster_file
from lab.snooping import Snooper, by_address, by_mac, set_router
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.cluster import Sharing, ask, ping_all, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Client, Lab, Node

MAC, GROUP = "01:00:5e:7f:00:20", "239.127.0.32"
MAC6, GROUP6 = "33:33:80:00:00:20", "ff15::8000:20"
VIP6, PINGS = "2001:db8::100", 10
ALL = {"h1", "h2", "h3"}
JOIN = ("ip", "address", "add", f"{GROUP}/32", "dev", "eth0", "autojoin", "scope", "host")
LEAVE = ("ip", "address", "del", f"{GROUP}/32", "dev", "eth0")


@pytest.fixture
def switch(lan: Lab) -> Iterator[Snooper]:
    with by_mac(lan) as made:
        yield made


@pytest.fixture
def client6(lan: Lab) -> Iterator[Client]:
    """The client with an IPv6 address; the hosts have one too."""
    for node in lan.nodes:
        ipv6(node, on=True)
        last = "fe" if node is lan.client else node.name[1:]
        node.run(*f"ip address add 2001:db8::{last}/32 dev eth0 nodad".split())
    yield lan.client
    for node in lan.nodes:
        ipv6(node, on=False)


@pytest.fixture
def cluster(lan: Lab, client6: Client) -> Iterator[Cluster]:
    assert client6
    made = Asked(lan, cluster_file(lan, vips=(VIP6,), mac=MAC6))
    made.start_all()
    yield made
    made.stop_all()


def ipv6(node: Node, *, on: bool) -> None:
    path = Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    node.call(lambda: path.write_text("01"[not on]))


def lost(client: Client) -> int:
    pings = traffic.ping(client, VIP6, PINGS, wait=0.3)
    assert pings.duplicates == 0
    return pings.sent - pings.received


def answers_queries(switch: Snooper) -> None:
    """Wait until each port's membership, which ends after 3 s, was renewed."""
    least = dict.fromkeys(ALL, 3.0)

    def renewed() -> bool:
        now = switch.ports(GROUP)
        for port in ALL:
            least[port] = min(least[port], now[port])
        return all(least[port] < 2.5 and now[port] > least[port] + 0.3 for port in ALL)

    eventually(renewed, what="the reports to be repeated")


def learns(switch: Snooper, mac: str, ports: set[str]) -> None:
    eventually(lambda: switch.learn().get(mac, set()) == ports, what=f"{mac} at {ports}")


def test_joined_left_and_joined_again(lan: Lab, switch: Snooper) -> None:
    sharing = Sharing(mac=MAC)
    share(lan, sharing)
    learns(switch, MAC, ALL)
    answers = ask(lan, VIP, count=32)
    assert answers == sharing.predicted(answers)
    answers_queries(switch)
    lan.hosts[1].run(*LEAVE)
    learns(switch, MAC, {"h1", "h3"})
    answers = ask(lan, VIP, count=32, patience=0.02)
    assert answers == sharing.predicted(answers, {1: "h1", 3: "h3"})
    assert [] in answers.values()
    lan.hosts[1].run(*JOIN)
    learns(switch, MAC, ALL)
    answers = ask(lan, VIP, count=32)
    assert answers == sharing.predicted(answers)
    lan.on_hosts(lambda host: host.clusterip("flush"))
    learns(switch, MAC, set())


def test_an_ipv6_vip_and_its_daemons(
    lan: Lab, cluster: Cluster, client6: Client, switch: Snooper
) -> None:
    cluster.settled()
    learns(switch, MAC6, ALL)
    # What Neighbour Discovery of the client and of the VIP needs.
    for mac, ports in (("33:33:ff:00:00:fe", {"c1"}), ("33:33:ff:00:01:00", ALL)):
        learns(switch, mac, ports)
    assert lost(client6) == 0
    assert client6.neighbour(VIP6) == MAC6
    lan.hosts[0].run("ip", "address", "del", f"{GROUP6}/128", "dev", "eth0")
    eventually(
        lambda: GROUP6 in lan.hosts[0].run("ip", "address", "show", "dev", "eth0").stdout,
        what="the daemon to join again",
    )
    for name in ALL:
        switch.hear(name, reports=False)
    learns(switch, MAC6, set())
    assert lost(client6) == PINGS
    for name in ALL:
        switch.hear(name, reports=True)
    learns(switch, MAC6, ALL)
    assert lost(client6) == 0
    cluster.stop_all()
    learns(switch, MAC6, set())


def test_a_port_that_was_down_is_learnt_again_unasked(lan: Lab, switch: Snooper) -> None:
    """A switch forgets it with the link; who asks the queries may not do so for minutes."""
    cluster = Asked(lan, cluster_file(lan, mac=MAC))
    cluster.start_all()
    try:
        cluster.settled()
        learns(switch, MAC, ALL)
        switch.ask(often=False)
        for name in ALL:
            lan.switch.run("ip", "link", "set", name, "down")
        learns(switch, MAC, set())
        for name in ALL:
            lan.switch.run("ip", "link", "set", name, "up")
        learns(switch, MAC, ALL)
    finally:
        switch.ask(often=True)
        cluster.stop_all()


def test_a_linux_bridge_and_its_cures(lan: Lab) -> None:
    sharing = Sharing(mac=MAC)
    share(lan, sharing)

    def answered() -> bool:
        answers = ping_all(lan)
        assert answers
        return answers == sharing.predicted(answers)

    assert answered()
    with by_address(lan) as bridge:
        eventually(lambda: set(bridge.ports(GROUP)) == ALL, what="all joins to be learnt")
        # Although everybody has joined, not one request gets anywhere.
        eventually(lambda: not any(ping_all(lan).values()), what="the bridge to snoop")
        for always in (True, False):
            for host in lan.hosts:
                set_router(lan, host.name, always=always)
            assert answered() is always
        for host in lan.hosts:
            host.run("sh", "-c", advertisement())
        assert answered()
        forget_routers(lan)
        assert not answered()
        lan.switch.run("ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
        assert answered()


def advertisement() -> str:
    """Return the command of the documentation that makes a host known as a multicast router."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    (found,) = re.findall(r"^python3 -c .*?\)\)'$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def forget_routers(lan: Lab) -> None:
    for host in lan.hosts:
        for mode in ("0", "1"):
            lan.switch.run("bridge", "link", "set", "dev", host.name, "mcast_router", mode)
