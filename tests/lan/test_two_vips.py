"""Two VIPs on one interface, shared in different ways, do not know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.topology import CLUSTER_MAC, VIP
from tests.lan.cluster import Sharing, ask, share
from tests.lan.traces import mac_filter

if TYPE_CHECKING:
    from lab.topology import Host, Lab

FIRST = Sharing("sourceip", VIP, 3, 1234, CLUSTER_MAC)
SECOND = Sharing("sourceip-sourceport-destport", "10.9.0.101", 5, 99, "01:00:5e:00:00:21")
SECOND_OWNERS = {1: "h1", 2: "h2", 3: "h3", 4: "h1", 5: "h2"}


def share_both(lan: Lab) -> None:
    share(lan, FIRST)
    share(lan, SECOND)
    lan.hosts[0].clusterip("bucket", SECOND.vip, "+4")
    lan.hosts[1].clusterip("bucket", SECOND.vip, "+5")


def test_each_by_its_own_hash_and_mac(lan: Lab) -> None:
    share_both(lan)
    first, second = ask(lan, FIRST.vip), ask(lan, SECOND.vip)
    assert first == FIRST.predicted(first)
    assert second == SECOND.predicted(second, SECOND_OWNERS)
    assert lan.client.neighbour(FIRST.vip) == FIRST.mac
    assert lan.client.neighbour(SECOND.vip) == SECOND.mac


def test_one_goes_the_other_stays(lan: Lab) -> None:
    share_both(lan)

    def stop_sharing(host: Host) -> None:
        host.clusterip("iptables", "-D", *FIRST.new(host.number))
        host.run("ip", "address", "del", f"{FIRST.vip}/32", "dev", "eth0")

    lan.on_hosts(stop_sharing)
    assert [mac_filter(host) for host in lan.hosts] == [[SECOND.mac.replace(":", "")]] * 3
    second = ask(lan, SECOND.vip)
    assert second == SECOND.predicted(second, SECOND_OWNERS)


def test_the_hosts_own_addresses_are_untouched(lan: Lab) -> None:
    share_both(lan)
    for host in lan.hosts:
        answers = ask(lan, host.address, count=32)
        assert {tuple(hosts) for hosts in answers.values()} == {(host.name,)}
        assert lan.client.neighbour(host.address) == host.mac
