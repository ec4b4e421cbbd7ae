"""A second interface of each host on the segment of the VIPs: clients see the cluster MAC only."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from clusterip.core.findings import Finding
from lab import traffic
from lab.capture import capturing
from lab.cluster import Cluster, cluster_file
from lab.servers import HTTP_PORT, nginx
from lab.topology import CLUSTER_MAC, VIP, lab
from lab.traffic import Flow
from lab.wait import eventually
from tests.lan.cluster import Sharing, append, forget_neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host, Lab

VIP6 = "2001:db8::100"
PINGS = 12


@pytest.fixture
def own(_able: None) -> Iterator[Lab]:
    """Two hosts, with IPv6, whose interfaces are the test's own."""
    with lab(hosts=2) as made:
        for node in made.nodes:
            node.call(lambda: _ipv6("all", "default", "eth0"))
        for number, node in enumerate(made.nodes, start=1):
            node.run(*f"ip address add 2001:db8::{number}/64 dev eth0 nodad".split())
        yield made


def _ipv6(*names: str) -> None:
    for name in names:
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("0")


def plug(lan: Lab, host: Host, name: str = "eth1") -> None:
    """Give a host another interface at the switch, which takes in whatever comes."""
    port, mac = f"{host.name}-{name}", f"02:00:00:00:02:{host.number:02x}"
    words = f"ip link add {port} type veth peer name {name} address {mac} netns {host.full_name}"
    lan.switch.run(*words.split())
    lan.switch.run(*f"ip link set {port} master br0 up".split())
    host.run(*f"ip link set {name} up promisc on allmulticast on".split())
    host.run(*f"ip address add 10.9.0.{100 + 20 + host.number}/16 dev {name}".split())
    host.run(*f"ip address add 2001:db8::1:{host.number}/64 dev {name} nodad".split())


def told(lan: Lab) -> set[str]:
    """Ask anew for the VIP, and return the MACs that anybody told for it."""
    forget_neighbours(lan.clients)
    with capturing(lan.client, "arp") as capture:
        traffic.ping(lan.client, VIP, 1, wait=0.3)
    return {arp.sender_mac for arp in capture.arps() if arp.sender == VIP}


def guards(host: Host, name: str = "eth1") -> list[str]:
    """Return what of ours is on an interface: qdisc and filters, without numbers of programs."""
    sides = [host.run("tc", "filter", "show", "dev", name, side) for side in ("ingress", "egress")]
    filters = [side.stdout for side in sides if "clusterip_guard" in side.stdout]
    qdiscs = host.run("tc", "qdisc", "show", "dev", name).stdout
    return [*filters, *(["clsact"] if "clsact" in qdiscs else [])]


def both_guard(host: Host) -> bool:
    """Whether eth1 is guarded, coming and going."""
    return len(guards(host)) == 3


def rules(host: Host) -> None:
    """Share the VIP by a rule with one bucket for each host, pings too."""
    append(host, *Sharing(total=2).new(host.number), "--manage-address")


def faults(host: Host) -> list[str]:
    """Return the faults that show has of the shared interface."""
    (interface,) = host.show()["interfaces"]
    return [msgspec.convert(one, Finding).line for one in interface["faults"]]


def cluster_mac(host: Host, vip: str) -> str:
    """Return the MAC that a VIP is shared at."""
    (interface,) = host.show()["interfaces"]
    macs = {one["vip"]: one["clustermac"] for one in interface["vips"]}
    return str(macs[vip]).lower()


def test_rules_guard_it_and_give_it_back(own: Lab) -> None:
    for host in own.hosts:
        plug(own, host)
    before = [guards(host) for host in own.hosts]
    own.on_hosts(rules)
    assert told(own) == {CLUSTER_MAC}
    pings = traffic.ping(own.client, VIP, PINGS)
    assert (pings.received, pings.duplicates) == (PINGS, 0)
    for host in own.hosts:
        (interface,) = host.show()["interfaces"]
        assert interface["verdicts"]["drop_arp_elsewhere"] >= 1
        assert interface["verdicts"]["drop_elsewhere"] >= PINGS
        assert interface["faults"] == []
    # Nor is its own address, or what is sent to its own MAC, any business of ours.
    assert traffic.ping(own.client, "10.9.0.121", 2).received == 2
    own.hosts[0].run("ip", "link", "set", "eth0", "down")
    assert told(own) == {CLUSTER_MAC}
    own.hosts[1].run("ip", "link", "set", "eth0", "down")
    assert told(own) == set()
    for host in own.hosts:
        host.clusterip("flush")
    assert [guards(host) for host in own.hosts] == before


def test_answers_leave_there_where_the_route_says_so(own: Lab) -> None:
    for host in own.hosts:
        plug(own, host)
        host.run("ip", "route", "delete", "10.9.0.0/16", "dev", "eth0")
    own.on_hosts(rules)
    assert traffic.ping(own.client, VIP, 1, wait=0.3).received == 1
    with capturing(own.client, "arp") as capture:
        # Who asked for the VIP has told its MAC. A client that knows the VIP does not ask.
        for host in own.hosts:
            host.run("ip", "neighbour", "flush", "dev", "eth1", "nud", "all")
        pings = traffic.ping(own.client, VIP, PINGS)
        asked = [arp for arp in capture.arps() if arp.sender == "0.0.0.0"]
    assert (pings.received, pings.duplicates) == (PINGS, 0)
    assert asked
    assert {arp.sender_mac for arp in capture.arps() if arp.sender == VIP} <= {CLUSTER_MAC}
    assert own.client.neighbour(VIP) == CLUSTER_MAC


def test_a_request_that_leaves_there_from_the_vip(own: Lab) -> None:
    host = own.hosts[0]
    plug(own, host)
    rules(host)
    with capturing(own.client, "arp") as capture:
        words = ("arping", "-U", "-c", "1", "-I", "eth1", "-s", VIP, VIP)
        host.run(*words, check=False)
        host.run("arping", "-c", "1", "-w", "1", "-I", "eth1", own.client.address, check=False)
    assert not [arp for arp in capture.arps() if arp.sender == VIP]
    assert [arp for arp in capture.arps() if arp.sender == "10.9.0.121"]


def test_what_came_after_the_rules_is_told_and_mended(own: Lab) -> None:
    host = own.hosts[0]
    rules(host)
    plug(own, host)
    (fault,) = faults(host)
    assert "eth1 is not guarded" in fault
    append(host, *Sharing(total=2).join("-p", "icmp"))
    assert faults(host) == []
    assert told(own) == {CLUSTER_MAC}


def test_who_sends_to_the_own_mac_of_another_interface_is_answered_there(own: Lab) -> None:
    """A container of this host, or who has a route by it: whatever the bucket."""
    host, client = own.hosts[0], own.client
    nginx(host, http=(HTTP_PORT,))
    host.run(*f"ip link add c0 type veth peer name c0 netns {client.full_name}".split())
    for node, number in ((host, 1), (client, 2)):
        node.run(*f"ip address add 172.17.0.{number}/24 dev c0".split())
        node.run(*["ip", "link", "set", "c0", "up"])
    client.run(*f"ip route add {VIP} via 172.17.0.1".split())
    rules(host)
    flows = [Flow("172.17.0.2", client.fresh_port(), VIP, HTTP_PORT) for _ in range(24)]
    assert set(traffic.web_answers(client, flows)) == {host.name}
    # At the cluster MAC it is one of two hosts, and the other is not there.
    client.run(*f"ip route del {VIP}".split())
    flows = traffic.flows(client, VIP, HTTP_PORT, 24)
    assert set(traffic.web_answers(client, flows, 0.3)) == {host.name, ""}


def test_where_it_cannot_be_the_interface_is_named(own: Lab) -> None:
    host = own.hosts[0]
    plug(own, host)
    host.run(*["tc", "qdisc", "add", "dev", "eth1", "ingress"])
    rules(host)
    (fault,) = faults(host)
    assert "eth1 is not guarded" in fault
    assert "eth1 is not guarded" in host.clusterip("show", check=False).stdout
    host.run(*["tc", "qdisc", "del", "dev", "eth1", "ingress"])
    append(host, *Sharing(total=2).join("-p", "icmp"))
    assert faults(host) == []


def test_both_interfaces_shared_in_turn(own: Lab) -> None:
    """The qdisc goes with the last that uses it, whoever added it."""
    host = own.hosts[0]
    plug(own, host)
    before = guards(host), guards(host, "eth0")
    second = Sharing(vip="10.9.0.101", total=2)
    other = ["eth1" if word == "eth0" else word for word in second.new(1)]
    for first, last in ((Sharing(total=2).new(1), other), (other, Sharing(total=2).new(1))):
        append(host, *Sharing(total=2).new(1))
        append(host, *other)
        host.clusterip("iptables", "-D", *first)
        assert host.show()["interfaces"][0]["tc"]
        host.clusterip("iptables", "-D", *last)
        assert (guards(host), guards(host, "eth0")) == before


def test_a_daemon_guards_what_comes_and_survives_a_kill(own: Lab) -> None:
    cluster = Cluster(own, cluster_file(own, vips=(VIP, VIP6)))
    cluster.start_all()
    cluster.settled(within=30.0)
    mac = own.hosts[0].show()["interfaces"][0]["vips"][0]["clustermac"].lower()
    for host in own.hosts:
        plug(own, host)
        eventually(lambda: both_guard(host), what="the guards")  # noqa: B023
    assert told(own) == {mac}
    with capturing(own.client, "icmp6") as capture:
        pings = own.client.run("ping", "-6", "-c", "5", "-i", "0.2", VIP6)
    assert "5 received" in pings.stdout
    assert "duplicates" not in pings.stdout
    del capture
    assert own.client.neighbour(VIP6).startswith("01:00:5e")
    host = own.hosts[0]
    host.run(*["tc", "qdisc", "del", "dev", "eth1", "clsact"])
    eventually(lambda: both_guard(host), what="the guards to be put back")
    for one in own.hosts:
        cluster.kill(one)
    # Nothing is answered any more, and nobody draws a client.
    assert told(own) <= {mac}
    cluster.start_all()
    cluster.settled(within=30.0)
    cluster.stop_all()
    for one in own.hosts:
        assert guards(one) == []
        links = json.loads(one.run("ip", "-json", "link", "show").stdout)
        assert {link["ifname"] for link in links} >= {"eth0", "eth1"}


def test_clients_that_the_route_reaches_by_the_other_interface(own: Lab) -> None:
    """An answer that leaves by eth0 wants the client's MAC, which the VIP on eth1 is to ask for."""
    for host in own.hosts:
        plug(own, host)
    file = cluster_file(own, vips=(VIP, VIP6))
    file.write_text(file.read_text().replace('"eth0"', '"eth1"'))
    cluster = Cluster(own, file)
    cluster.start_all()
    cluster.settled(within=30.0)
    host = own.hosts[0]
    for address in ("10.9.1.1", "2001:db8::10"):
        assert " dev eth0 " in host.run("ip", "route", "get", address).stdout
    forget_neighbours(own.nodes)
    client = own.client
    client.run("ip", "address", "add", "2001:db8::10/64", "dev", "eth0", "nodad")
    entries = client.start("ip", "-oneline", "monitor", "neigh", "dev", "eth0")
    with capturing(client, "arp") as capture:
        for source in client.addresses:
            pings = traffic.ping(client, VIP, 1, source=source)
            assert (source, pings.received, pings.duplicates) == (source, 1, 0)
        assert traffic.ping(client, VIP6, PINGS, source="2001:db8::10").received == PINGS
        eventually(lambda: f"{VIP6} lladdr" in entries.output, what="the entry of the VIP")
    entries.stop(signal.SIGINT)
    for vip in (VIP, VIP6):
        lines = [line.split() for line in entries.output.splitlines() if line.startswith(f"{vip} ")]
        told_macs = {line[line.index("lladdr") + 1] for line in lines if "lladdr" in line}
        assert told_macs == {client.neighbour(vip)} == {cluster_mac(host, vip)}
    macs = {one.mac for one in own.hosts}
    assert "0.0.0.0" in {arp.sender for arp in capture.arps() if arp.from_mac in macs}
    told_by_arp = {arp.sender_mac for arp in capture.arps() if arp.sender == VIP}
    assert told_by_arp <= {cluster_mac(host, VIP)}


def test_the_kernel_does_not_answer_for_ipv6_there_by_itself(own: Lab) -> None:
    """A VIP that the administrator has on eth0 only: why the guard of IPv6 is for what we send."""
    host = own.hosts[0]
    plug(own, host)
    host.run(*f"ip address add {VIP6}/128 dev eth0 nodad".split())
    socket.inet_pton(socket.AF_INET6, VIP6)
    own.client.run("ping", "-6", "-c", "1", "-W", "1", VIP6, check=False)
    assert own.client.neighbour(VIP6) == host.mac
