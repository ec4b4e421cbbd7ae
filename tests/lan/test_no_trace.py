"""What a rule brought goes with it; what the administrator had added stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab.topology import CLUSTER_MAC, VIP, Host
from tests.lan.cluster import Sharing, append
from tests.lan.traces import addresses, mac_filter, traces

if TYPE_CHECKING:
    from lab.topology import Lab

MAC_DIGITS = CLUSTER_MAC.replace(":", "")
RULE = Sharing().new(1)
MANAGED = [*RULE, "--manage-address"]
JOINED = Sharing().join("-p", "icmp")


@pytest.fixture
def host(lan: Lab) -> Host:
    return lan.hosts[0]


def joined(host: Host) -> set[str]:
    (link,) = json.loads(host.run("ip", "-json", "maddress", "show", "dev", "eth0").stdout)
    return {one["address"] for one in link["maddr"] if "address" in one}


def foreign_filter(host: Host, side: str) -> None:
    match = ("protocol", "ip", "u32", "match", "u32", "0", "0")
    host.run("tc", "filter", "add", "dev", "eth0", side, "prio", "7", *match)


@pytest.mark.parametrize("xdp", ["off", "auto"])
@pytest.mark.parametrize("removal", [["iptables", "-D", *RULE], ["iptables", "-F"], ["flush"]])
def test_a_rule_added_and_removed(host: Host, removal: list[str], xdp: str) -> None:
    before = traces(host)
    host.clusterip("iptables", "--xdp", xdp, "-A", *RULE)
    there = traces(host)
    assert there.pins
    assert there.xdp == (xdp == "auto")
    assert "clusterip" in there.ingress
    assert "clusterip" in there.egress
    assert there.macs == before.macs | {MAC_DIGITS}
    assert there.addresses == before.addresses
    host.clusterip(*removal)
    assert traces(host) == before


@pytest.mark.parametrize("removal", [["iptables", "-F"], ["flush"]])
def test_a_group_that_was_joined(host: Host, removal: list[str]) -> None:
    before, groups = traces(host), joined(host)
    append(host, *Sharing(mac="01:00:5e:7f:00:20").new(1))
    assert traces(host).addresses == before.addresses | {"239.127.0.32/32"}
    assert joined(host) == groups | {"239.127.0.32"}
    host.clusterip(*removal)
    assert traces(host) == before
    assert joined(host) == groups


def test_by_number_and_the_last_of_two(host: Host) -> None:
    before = traces(host)
    append(host, *RULE)
    append(host, *JOINED)
    host.clusterip("iptables", "-D", "INPUT", "1")
    assert traces(host).macs == before.macs | {MAC_DIGITS}
    host.clusterip("iptables", "-D", "INPUT", "1")
    assert traces(host) == before


def test_a_managed_address(host: Host) -> None:
    before = traces(host)
    append(host, *MANAGED)
    assert traces(host).addresses == before.addresses | {f"{VIP}/32"}
    host.clusterip("iptables", "-D", *MANAGED)
    assert traces(host) == before


def test_an_address_that_was_there(host: Host) -> None:
    host.add_address(VIP)
    append(host, *MANAGED)
    host.clusterip("iptables", "-D", *MANAGED)
    assert f"{VIP}/32" in addresses(host)


def test_a_mac_that_was_let_in_before(host: Host) -> None:
    host.run("ip", "maddress", "add", CLUSTER_MAC, "dev", "eth0")
    append(host, *RULE)
    host.clusterip("flush")
    assert mac_filter(host) == [MAC_DIGITS]


def test_a_clsact_that_was_there(host: Host) -> None:
    host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    before = traces(host)
    append(host, *RULE)
    host.clusterip("flush")
    assert traces(host) == before
    assert "clsact" in before.qdiscs


def test_a_filter_behind_ours(host: Host) -> None:
    host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
    foreign_filter(host, "ingress")
    before = traces(host)
    append(host, *RULE)
    assert "clusterip" in traces(host).ingress
    host.clusterip("flush")
    assert traces(host) == before
    assert "u32" in before.ingress


def test_a_filter_that_came_meanwhile(host: Host) -> None:
    append(host, *RULE)
    foreign_filter(host, "egress")
    host.clusterip("flush")
    left = traces(host)
    assert "u32" in left.egress
    assert "clusterip" not in left.ingress + left.egress


def test_flush_with_nothing_there(host: Host) -> None:
    before = traces(host)
    host.clusterip("flush")
    host.clusterip("iptables", "-F")
    assert traces(host) == before


def test_an_interface_that_goes(lan: Lab) -> None:
    host = lan.hosts[0]
    before = traces(host)
    host.run(*["ip", "link", "add", "dummy0", "type", "veth", "peer", "name", "dummy1"])
    sharing = Sharing()
    host.clusterip("iptables", "-A", *("dummy0" if w == "eth0" else w for w in sharing.new(1)))
    host.run("ip", "link", "del", "dummy0")
    # The next command sees that it is gone, and takes the pins away.
    append(host, *sharing.new(1))
    (interface,) = host.show()["interfaces"]
    assert interface["interface"] == "eth0"
    host.clusterip("flush")
    assert traces(host) == before
