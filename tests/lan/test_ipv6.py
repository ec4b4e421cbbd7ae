"""An IPv6 VIP beside an IPv4 one, from one file: each packet is answered once, by its host."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clusterip import bucket
from lab import frames, traffic
from lab.cluster import BUCKETS, Cluster, cluster_file
from lab.router import FAR6, far_client
from lab.servers import HTTP_PORT
from lab.topology import CLIENT_ADDRESSES, VIP
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.cluster import MODES, Answers, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Client, Lab, Node

VIP6 = "2001:db8::100"
VIP6_MAC = "01:00:5e:00:00:a0"
MTU, DOWNLOADS, BYTES = 1300, 6, 200_000
HOST6 = "2001:db8:ff::"
CLIENT6 = [f"2001:db8:0:{network:x}::1" for network in range(1, CLIENT_ADDRESSES + 1)]


def switch(node: Node, *, on: bool) -> None:
    """Switch IPv6 on or off, which takes all IPv6 addresses away."""

    def write() -> None:
        for name in ("all", "lo", "eth0"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("01"[not on])

    node.call(write)


def with_ipv6(lan: Lab) -> None:
    """Give the hosts an IPv6 address each, and the client one of each of many /64 networks."""
    for node in lan.nodes:
        switch(node, on=True)
    for host in lan.hosts:
        host.run(*f"ip address add {HOST6}{host.number}/32 dev eth0 nodad".split())
    each = (f"ip address add {address}/32 dev eth0 nodad" for address in CLIENT6)
    lan.client.run("sh", "-c", "; ".join(each))


@contextlib.contextmanager
def ipv6_client(lan: Lab) -> Iterator[Client]:
    """Have IPv6 for the body, which gets the client with its IPv6 addresses."""
    with_ipv6(lan)
    six = copy.copy(lan.client)
    six.addresses = CLIENT6
    yield six
    for node in lan.nodes:
        switch(node, on=False)


@pytest.fixture
def client(lan: Lab) -> Iterator[Client]:
    """The client with its IPv6 addresses."""
    with ipv6_client(lan) as six:
        yield six


@pytest.fixture
def cluster(lan: Lab, client: Client, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Daemons that serve both VIPs in the hash mode that the test asks for."""
    assert client
    mode: str = getattr(request, "param", MODES[1])
    made = Asked(lan, cluster_file(lan, vips=(VIP6, VIP), hashmode=mode))
    made.start_all()
    yield made
    made.stop_all()


def predicted(mode: str, answers: Answers, held: dict[str, list[int]]) -> Answers:
    """Return what must be answered, where each host holds the buckets given."""
    owner = {one: name for name, buckets in held.items() for one in buckets}

    def of(request: frames.Request) -> int:
        ported = request.protocol in (frames.TCP, frames.UDP)
        ports = (request.source_port, request.destination_port) if ported else ()
        return bucket(mode, BUCKETS, 0, request.source, *ports)

    return {request: [owner[of(request)]] for request in answers}


@pytest.mark.parametrize(
    ("cluster", "mode"), [(mode, mode) for mode in MODES], indirect=["cluster"]
)
def test_answered_once_by_the_host_that_the_hash_says(
    lan: Lab, client: Client, cluster: Cluster, mode: str
) -> None:
    held = cluster.settled()
    answers = ask(lan, VIP6, client=client)
    assert {request.protocol for request in answers} == {frames.ICMP, frames.TCP, frames.UDP}
    assert len(answers) == 3 * 64
    assert answers == predicted(mode, answers, held)
    assert {name for (name,) in answers.values()} == {"h1", "h2", "h3"}
    assert client.neighbour(VIP6) == VIP6_MAC
    pings = traffic.ping(client, VIP6, 10, source=CLIENT6[0])
    assert (pings.received, pings.duplicates) == (10, 0)
    four = ask(lan, VIP)
    assert four == predicted(mode, four, held)


def test_a_network_stays_on_one_host(lan: Lab, client: Client, cluster: Cluster) -> None:
    cluster.settled()
    neighbour = CLIENT6[0].replace("::1", ":abcd:ef01:2345:6789")
    client.run(*f"ip address add {neighbour}/32 dev eth0 nodad".split())
    client.addresses = [CLIENT6[0], neighbour]
    answers = ask(lan, VIP6, 8, client=client)
    pings = [hosts for request, hosts in answers.items() if request.protocol == frames.ICMP]
    assert len(pings) == 8
    assert len({tuple(hosts) for hosts in pings}) == 1


def test_the_hosts_do_not_begin_anything_from_the_vip(
    lan: Lab, client: Client, cluster: Cluster
) -> None:
    assert client
    cluster.settled()
    for host in lan.hosts:
        shown = host.run("ip", "address", "show", "dev", "eth0", "to", f"{VIP6}/128").stdout
        assert "deprecated" in shown
        assert "tentative" not in shown
        assert "dadfailed" not in shown
        route = host.run("ip", "route", "get", CLIENT6[0]).stdout
        assert f"src {HOST6}{host.number}" in route


def test_the_commands_know_it(lan: Lab, client: Client, cluster: Cluster) -> None:
    held = cluster.settled()
    flow = traffic.flows(client, VIP6, HTTP_PORT, 1)[0]
    number = bucket(MODES[1], BUCKETS, 0, flow.source, flow.source_port, flow.destination_port)
    packet = ("--src", flow.source, "--sport", str(flow.source_port), "--dport", "80")
    for host in lan.hosts:
        told = json.loads(host.clusterip("which", "--vip", VIP6, *packet, "--json").stdout)
        assert (told["bucket"], told["held"]) == (number, number in held[host.name])
        assert json.loads(host.clusterip("bucket", VIP6, "--json").stdout) == held[host.name]
    (owner,) = (host for host in lan.hosts if number in held[host.name])

    def connect() -> socket.socket:
        ends = (flow.destination, flow.destination_port), (flow.source, flow.source_port)
        return socket.create_connection(ends[0], 5.0, ends[1])

    with client.call(connect):
        counts = eventually(lambda: owner.show()["clusters"][0]["connections"])
        assert counts == {str(number): 1}


def test_large_downloads_through_a_small_mtu(lan: Lab, client: Client, cluster: Cluster) -> None:
    assert client
    held = cluster.settled()
    with far_client(lan, MTU, ipv6=True) as far:
        owners = set()
        for port in range(21000, 21000 + DOWNLOADS):
            done = far.run(
                *("curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null"),
                *("--local-port", str(port), "--range", f"0-{BYTES - 1}", "--globoff"),
                *("--write-out", "%{http_code} %{size_download}"),
                f"http://[{VIP6}]/large?rate=1g",
            )
            assert done.stdout == f"206 {BYTES}"
            number = bucket(MODES[1], BUCKETS, 0, FAR6, port, HTTP_PORT)
            owners |= {name for name, buckets in held.items() if number in buckets}
        # Only the host that holds a connection hears that its packets were too big.
        learned = {
            host.name
            for host in lan.hosts
            if f"mtu {MTU}" in host.run("ip", "route", "get", FAR6, "from", VIP6).stdout
        }
        assert learned == owners


def test_it_survives_a_death(lan: Lab, client: Client, cluster: Cluster) -> None:
    cluster.settled()
    cluster.kill(lan.hosts[2])
    held = cluster.settled(within=20.0)
    answers = ask(lan, VIP6, client=client)
    assert answers == predicted(MODES[1], answers, held)
    assert eventually(lambda: client.neighbour(VIP6) == VIP6_MAC)
