"""Several network namespaces of one machine, each with its own rules, with no option."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab.topology import VIP, lab
from tests.lan.cluster import Sharing, append, ping_all, share

if TYPE_CHECKING:
    from lab.topology import Host, Lab

OTHER = Sharing("sourceip", "10.9.0.101", 7, 0, "01:00:5e:00:00:21")


def vips(host: Host) -> list[str]:
    return [vip["vip"] for interface in host.show()["interfaces"] for vip in interface["vips"]]


def test_each_shows_its_own(lan: Lab) -> None:
    one, other, third = lan.hosts
    append(one, *Sharing().new(1))
    append(other, *OTHER.new(7))
    assert (vips(one), vips(other), vips(third)) == ([VIP], [OTHER.vip], [])
    assert third.clusterip("iptables", "-S").stdout.count("CLUSTERIP") == 0
    assert one.pins != other.pins


def test_one_is_flushed_the_others_stay(lan: Lab) -> None:
    sharing = Sharing("sourceip")
    share(lan, sharing)
    gone = lan.hosts[1]
    gone.run("ip", "address", "del", f"{VIP}/32", "dev", "eth0")
    gone.clusterip("flush")
    assert [vips(host) for host in lan.hosts] == [[VIP], [], [VIP]]
    answers = ping_all(lan)
    assert answers == sharing.predicted(answers, {1: "h1", 3: "h3"})


def test_entered_by_ip_netns_exec(lan: Lab) -> None:
    """It mounts a /sys of its own, in which no bpffs is to be seen."""
    host = lan.hosts[0]
    append(host, *Sharing().new(1))
    within = ("ip", "netns", "exec", host.full_name, "clusterip")
    assert lan.hosts[1].run(*within, "iptables", "-S").stdout.count("CLUSTERIP") == 1
    lan.hosts[1].run(*within, "iptables", "-A", *Sharing().join("-p", "udp"))
    assert host.clusterip("iptables", "-S").stdout.count("CLUSTERIP") == 2
    lan.hosts[1].run(*within, "flush")
    assert not host.pins.exists()


def test_many_commands_at_once(lan: Lab) -> None:
    others = [Sharing(vip=f"10.9.0.{last}") for last in range(101, 105)]

    def share_all(host: Host) -> None:
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda sharing: append(host, *sharing.new(host.number)), others))

    lan.on_hosts(share_all)
    for host in lan.hosts:
        assert sorted(vips(host)) == [sharing.vip for sharing in others]


def test_the_same_vip_in_two_networks(lan: Lab) -> None:
    sharing = Sharing("sourceip")
    share(lan, sharing)
    with lab(hosts=2) as elsewhere:
        share(elsewhere, sharing)
        elsewhere.hosts[0].clusterip("bucket", VIP, "+3")
        theirs = ping_all(elsewhere)
        assert theirs == sharing.predicted(theirs, {1: "h1", 2: "h2", 3: "h1"})
        ours = ping_all(lan)
        assert ours == sharing.predicted(ours)
    ours = ping_all(lan)
    assert ours == sharing.predicted(ours)
