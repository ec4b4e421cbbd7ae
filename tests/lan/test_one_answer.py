"""The point of it all: everybody answered before, exactly one host answers now.

Seen by tcpdump at the client: for each request, which hosts the answers came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import frames, traffic
from lab.servers import HTTP_PORT
from lab.topology import CLUSTER_MAC, VIP
from tests.lan.cluster import MODES, Sharing, ask, share

if TYPE_CHECKING:
    from lab.topology import Lab


def naively(lan: Lab) -> None:
    """Share the VIP by hand: everybody has it, and everybody hears what is sent to it."""
    for host in lan.hosts:
        host.add_address(VIP)
        host.run("ip", "maddress", "add", CLUSTER_MAC, "dev", "eth0")
        # Linux ignores TCP in multicast frames; CLUSTERIP made them unicast, and so does this.
        host.run(
            "nft",
            "add table ip naive;"
            "add chain ip naive pre { type filter hook prerouting priority -300; };"
            f"add rule ip naive pre ip daddr {VIP} meta pkttype set host",
        )
    lan.client.run("ip", "neighbour", "replace", VIP, "lladdr", CLUSTER_MAC, "dev", "eth0")


def protocols(answers: dict[frames.Request, list[str]]) -> set[int]:
    return {request.protocol for request in answers}


def test_before_everybody_answers(lan: Lab) -> None:
    naively(lan)
    answers = ask(lan, VIP, count=32, expected=3, patience=0.2)
    assert protocols(answers) == {frames.ICMP, frames.TCP, frames.UDP}
    everybody = {"h1", "h2", "h3"}
    assert {request for request, hosts in answers.items() if set(hosts) != everybody} == set()
    # ping ends with the first answer to its last request, so it may miss two of the others.
    assert traffic.ping(lan.client, VIP, 10).duplicates >= 18


def test_before_no_web_request_succeeds(lan: Lab) -> None:
    naively(lan)
    told = traffic.web_answers(lan.client, traffic.flows(lan.client, VIP, HTTP_PORT, 8), 0.3)
    assert told == [""] * 8


@pytest.mark.parametrize("mode", MODES)
def test_after_the_host_that_the_hash_says(lan: Lab, mode: str) -> None:
    sharing = Sharing(mode)
    share(lan, sharing)
    answers = ask(lan, VIP)
    assert protocols(answers) == {frames.ICMP, frames.TCP, frames.UDP}
    assert answers == sharing.predicted(answers)
    shares = {
        host: sum(hosts == [host] for hosts in answers.values()) for host in ("h1", "h2", "h3")
    }
    assert min(shares.values()) > 0
    assert lan.client.neighbour(VIP) == CLUSTER_MAC
    pings = traffic.ping(lan.client, VIP, 10)
    assert (pings.received, pings.duplicates) == (10, 0)


@pytest.mark.parametrize("xdp", ["off", "require"])
def test_without_and_with_xdp_and_a_bucket_without_owner(lan: Lab, xdp: str) -> None:
    sharing = Sharing(total=5)
    for host in lan.hosts:
        host.clusterip("iptables", "--xdp", xdp, "-A", *sharing.new(host.number))
        host.add_address(VIP)
    lan.hosts[0].clusterip("bucket", VIP, "+4")
    answers = ask(lan, VIP, count=32, patience=0.02)
    owners = {1: "h1", 2: "h2", 3: "h3", 4: "h1"}
    # Nobody has bucket 5: its packets are not answered at all.
    assert answers == sharing.predicted(answers, owners)


def test_the_page_comes_from_that_host(lan: Lab) -> None:
    sharing = Sharing()
    share(lan, sharing)
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, 200)
    told = traffic.web_answers(lan.client, flows)
    requests = [
        frames.Request(frames.TCP, flow.source, flow.source_port, VIP, HTTP_PORT) for flow in flows
    ]
    predicted = sharing.predicted(requests)
    assert [[name] for name in told] == [predicted[request] for request in requests]
