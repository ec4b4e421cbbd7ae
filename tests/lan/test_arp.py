"""ARP as the client receives it: for the VIP the cluster MAC, in frames from the NIC's own MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import traffic
from lab.capture import capturing
from lab.frames import Arp
from lab.topology import CLUSTER_MAC, VIP
from tests.lan.cluster import Sharing, append, forget_neighbours, share

if TYPE_CHECKING:
    from lab.topology import Host, Lab

REQUEST, REPLY = 1, 2


def from_vip(arps: list[Arp]) -> list[Arp]:
    return [arp for arp in arps if arp.sender == VIP]


def alone(lan: Lab) -> Host:
    """Share the VIP on one host only, which is to speak."""
    host = lan.hosts[1]
    append(host, *Sharing().new(host.number))
    host.add_address(VIP)
    return host


def test_every_host_answers_with_the_cluster_mac(lan: Lab) -> None:
    share(lan, Sharing())
    forget_neighbours(lan.nodes)
    with capturing(lan.client, "arp") as capture:
        traffic.ping(lan.client, VIP, 1)
    replies = [arp for arp in from_vip(capture.arps()) if arp.operation == REPLY]
    assert {arp.from_mac for arp in replies} == {host.mac for host in lan.hosts}
    for arp in replies:
        assert arp.sender_mac == CLUSTER_MAC
        assert (arp.to_mac, arp.target_mac) == (lan.client.mac, lan.client.mac)
        assert arp.target == lan.client.address
    assert lan.client.neighbour(VIP) == CLUSTER_MAC
    for host in lan.hosts:
        (interface,) = host.show()["interfaces"]
        assert interface["verdicts"]["arp_rewritten"] >= 1


@pytest.mark.parametrize(("option", "operation"), [("-U", REQUEST), ("-A", REPLY)])
def test_gratuitous(lan: Lab, option: str, operation: int) -> None:
    host = alone(lan)
    traffic.ping(lan.client, VIP, 1, wait=0.2)
    with capturing(lan.client, "arp") as capture:
        host.run("arping", option, "-c", "1", "-I", "eth0", "-s", VIP, VIP, check=False)
    (arp,) = [arp for arp in from_vip(capture.arps()) if arp.target == VIP]
    assert arp.operation == operation
    assert (arp.from_mac, arp.sender_mac) == (host.mac, CLUSTER_MAC)
    assert arp.to_mac == "ff:ff:ff:ff:ff:ff"
    assert lan.client.neighbour(VIP) == CLUSTER_MAC


def test_announced_by_the_kernel(lan: Lab) -> None:
    host = alone(lan)
    host.run("sysctl", "-qw", "net.ipv4.conf.eth0.arp_notify=1")
    with capturing(lan.client, "arp") as capture:
        # The address it has already: that is announced as well.
        host.run("ip", "link", "set", "eth0", "address", host.mac)
    said = {(arp.sender, arp.sender_mac, arp.from_mac) for arp in capture.arps()}
    assert (VIP, CLUSTER_MAC, host.mac) in said
    assert (host.address, host.mac, host.mac) in said
    assert (VIP, host.mac, host.mac) not in said


def test_a_request_that_the_host_sends_from_the_vip(lan: Lab) -> None:
    host = alone(lan)
    forget_neighbours(lan.nodes)
    with capturing(lan.client, "arp") as capture:
        host.run("ping", "-c", "1", "-W", "1", "-I", VIP, lan.client.address, check=False)
    requests = [arp for arp in from_vip(capture.arps()) if arp.operation == REQUEST]
    assert requests
    assert {(arp.from_mac, arp.sender_mac) for arp in requests} == {(host.mac, CLUSTER_MAC)}
    assert lan.client.neighbour(VIP) in {"", CLUSTER_MAC}


def test_the_hosts_own_address_keeps_its_own_mac(lan: Lab) -> None:
    host = alone(lan)
    forget_neighbours(lan.nodes)
    with capturing(lan.client, "arp") as capture:
        traffic.ping(lan.client, host.address, 1)
    replies = [arp for arp in capture.arps() if arp.sender == host.address]
    assert {(arp.from_mac, arp.sender_mac) for arp in replies} == {(host.mac, host.mac)}
