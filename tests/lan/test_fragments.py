"""What comes in fragments is answered once, by the host of the whole packet, in any order."""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clusterip import bucket
from lab import frames, traffic
from lab.capture import capturing
from lab.cluster import BUCKETS, cluster_file
from lab.router import FAR, far_client
from lab.topology import CLUSTER_MAC, VIP, Node
from lab.traffic import Flow
from tests.lan.asked import Asked
from tests.lan.cluster import MODES, Sharing
from tests.lan.fragments import (
    backwards,
    datagram,
    datagram_answers,
    in_order,
    send_frames,
    syn,
)
from tests.lan.test_ipv6 import VIP6, ipv6_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.topology import Client, Host, Lab
    from tests.lan.fragments import Train

ROOT = Path(__file__).parents[2]
PORT = 4007
BYTES = 8000
FLOWS = 32  # of each kind and IP version
LONE = 20_000
SMALL, UPLOADS, UPLOAD = 700, 8, 200_000
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0
SYN_ACK = frames.SYN | frames.ACK
REASSEMBLY = "3"  # seconds
identifications = itertools.count(1)
"""Of packets in fragments: a host where one stayed incomplete takes the same id for that."""


def echo(lan: Lab, *addresses: str) -> None:
    """Start a server on each host."""
    for host in lan.hosts:
        words = ("-m", "tests.lan.echoer", host.name, str(PORT), *addresses)
        server = host.start("env", f"PYTHONPATH={ROOT}", sys.executable, *words)
        server.wait_output("ready")


@pytest.fixture(scope="module")
def servers(lan: Lab) -> None:
    """A server on each host. What stays incomplete there is soon forgotten, with its id."""
    for host in lan.hosts:
        host.call(lambda: Path("/proc/sys/net/ipv4/ipfrag_time").write_text(REASSEMBLY))
        words = ("-m", "tests.lan.echoer", host.name, str(PORT), VIP, VIP6)
        server = host.start("env", f"PYTHONPATH={ROOT}", sys.executable, *words)
        server.wait_output("ready")


@pytest.fixture
def clients(lan: Lab, servers: None) -> Iterator[dict[str, Client]]:
    """The client by VIP, with IPv6 addresses for that one; the hosts have IPv6 too."""
    with ipv6_client(lan) as six:
        yield {VIP: lan.client, VIP6: six}


class Asking:
    """Asks VIPs in fragments; `owner` says which host must answer."""

    def __init__(self, lan: Lab, clients: dict[str, Client], owner: Callable[[Flow], str]) -> None:
        self._lan = lan
        self._clients = clients
        self.owner = owner
        self._random = random.Random(8000)

    def everything(self, vip: str) -> None:
        """Ask in all ways."""
        for arranged in (None, in_order, backwards):
            self.datagrams(vip, arranged)
        for order in (in_order, backwards):
            self.syns(vip, order)

    def flows(self, vip: str) -> list[Flow]:
        return traffic.flows(self._clients[vip], vip, PORT, FLOWS)

    def trains(self, flows: list[Flow], make: Callable[[Flow, int], Train]) -> list[Train]:
        return [make(flow, next(identifications)) for flow in flows]

    def macs(self, vip: str) -> tuple[str, str]:
        """Return the MACs that a frame to a VIP goes from and to."""
        client = self._clients[vip]
        traffic.ping(client, vip, 1)
        return client.mac, client.neighbour(vip)

    def datagrams(self, vip: str, arranged: Callable[[list[Train]], list[bytes]] | None) -> None:
        """Send large datagrams, by the kernel or arranged by hand: each is answered once."""
        flows = self.flows(vip)
        contents = [self._random.randbytes(BYTES) for _ in flows]
        by_hand: list[bytes] = []
        if arranged:
            macs = self.macs(vip)
            by_flow = dict(zip(flows, contents, strict=True))
            trains = self.trains(flows, lambda flow, at: datagram(flow, at, by_flow[flow], macs))
            assert {len(train) for train in trains} == {6}
            by_hand = arranged(trains)

        def send(sockets: list[socket.socket]) -> None:
            if arranged:
                send_frames(by_hand)
                return
            for one, content in zip(sockets, contents, strict=True):
                one.send(content)

        told = datagram_answers(self._clients[vip], flows, send)
        expected = [f"{self.owner(flow)} ".encode() for flow in flows]
        assert [len(answers) for answers in told] == [1] * len(flows)
        assert [answers[0].partition(b" ")[0] + b" " for answers in told] == expected
        for answers, name, content in zip(told, expected, contents, strict=True):
            assert answers == [name + content]
        assert len(set(expected)) == 3

    def syns(self, vip: str, arranged: Callable[[list[Train]], list[bytes]]) -> None:
        """Send SYNs in two fragments each: one SYN-ACK comes to each."""
        client, flows, macs = self._clients[vip], self.flows(vip), self.macs(vip)
        by_hand = arranged(self.trains(flows, lambda flow, at: syn(flow, at, macs)))
        assert len(by_hand) == 2 * len(flows)
        with capturing(client, "tcp or ip6") as capture:
            client.call(lambda: send_frames(by_hand))
        answers = Counter(
            (one.destination, one.destination_port, self._lan.name_of(one.from_mac))
            for one in capture.seen()
            if isinstance(one, frames.Packet)
            and (one.protocol, one.source, one.kind) == (frames.TCP, vip, SYN_ACK)
        )
        assert answers == Counter((one.source, one.source_port, self.owner(one)) for one in flows)


@pytest.mark.parametrize("mode", MODES)
def test_answered_once(lan: Lab, clients: dict[str, Client], mode: str) -> None:
    cluster = Asked(lan, cluster_file(lan, vips=(VIP6, VIP), hashmode=mode))
    cluster.start_all()
    try:
        held = cluster.settled()
        for host in lan.hosts:
            assert "xdp" in host.run("ip", "link", "show", "dev", "eth0").stdout
        owner = {one: name for name, buckets in held.items() for one in buckets}

        def answers(flow: Flow) -> str:
            ends = flow.source, flow.source_port, flow.destination_port
            return owner[bucket(mode, BUCKETS, 0, *ends)]

        asking = Asking(lan, clients, answers)
        for vip in (VIP, VIP6):
            asking.everything(vip)
    finally:
        cluster.stop_all()


def share(lan: Lab, sharing: Sharing, xdp: str) -> None:
    """Share the VIP by commands, with XDP or without."""

    def join(host: Host) -> None:
        host.clusterip("iptables", "--xdp", xdp, "-A", *sharing.new(host.number))
        host.add_address(VIP)

    lan.on_hosts(join)


def test_answered_once_without_xdp(lan: Lab, clients: dict[str, Client]) -> None:
    sharing = Sharing(MODES[2])
    share(lan, sharing, "off")

    def answers(flow: Flow) -> str:
        return f"h{sharing.bucket_of(flow.source, flow.source_port, flow.destination_port)}"

    Asking(lan, clients, answers).everything(VIP)


def reassembled(host: Host) -> tuple[int, int]:
    """Return how many fragments the stack got, and how many packets it made of them."""
    told = host.call(Path("/proc/thread-self/net/snmp").read_text)
    names, values = (line.split() for line in told.splitlines() if line.startswith("Ip:"))
    by_name = dict(zip(names[1:], map(int, values[1:]), strict=True))
    return by_name["ReasmReqds"], by_name["ReasmOKs"]


@pytest.mark.parametrize("xdp", ["require", "off"])
@pytest.mark.usefixtures("servers")
def test_tcp_that_a_router_fragments(lan: Lab, xdp: str) -> None:
    sharing = Sharing()
    share(lan, sharing, xdp)
    content = random.Random(700).randbytes(UPLOAD)
    before = {host.name: reassembled(host) for host in lan.hosts}
    with far_client(lan, 1500) as far:
        router = Node("router", lan.directory, "", [])
        router.run(*f"ip route add {VIP}/32 dev eth0 mtu lock {SMALL}".split())

        def upload(port: int) -> bytes:
            with socket.socket() as one:
                one.settimeout(10.0)
                one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
                one.bind((FAR, port))
                one.connect((VIP, PORT))
                one.sendall(content)
                one.shutdown(socket.SHUT_WR)
                return one.makefile("rb").read()

        # Two of the three hosts, so that one is there whom none of it concerns.
        ports = [port for port in range(22000, 22100) if sharing.bucket_of(FAR, port, PORT) != 3][
            :UPLOADS
        ]
        owners = [f"h{sharing.bucket_of(FAR, port, PORT)}" for port in ports]
        digest = hashlib.sha256(content).hexdigest()
        for port, owner in zip(ports, owners, strict=True):
            assert far.call(partial(upload, port)).decode() == f"{owner} {digest}"
    got = {host.name: reassembled(host) for host in lan.hosts}
    assert set(owners) == {"h1", "h2"}
    for name in ("h1", "h2"):
        # A full segment makes three fragments; what the other host answers would add two more.
        fragments, packets = (
            after - old for after, old in zip(got[name], before[name], strict=True)
        )
        assert packets >= owners.count(name) * UPLOAD // 1448 // 2
        assert 2 * packets < fragments < 4 * packets
    assert got["h3"] == before["h3"]


def memory(host: Host) -> int:
    """Return how many bytes the stack holds for packets that are not complete."""
    told = host.call(Path("/proc/thread-self/net/sockstat").read_text)
    (line,) = (one.split() for one in told.splitlines() if one.startswith("FRAG:"))
    return int(line[line.index("memory") + 1])


def test_later_fragments_alone_take_no_memory_beyond_the_kernels_bound(lan: Lab) -> None:
    share(lan, Sharing(), "off")
    flow = Flow(lan.client.address, 1, VIP, PORT)
    _, later = datagram(flow, 0, bytes(2000), (lan.client.mac, CLUSTER_MAC))
    lone = [later[:18] + number.to_bytes(2, "big") + later[20:] for number in range(LONE)]
    lan.client.call(lambda: send_frames(lone))
    for host in lan.hosts:
        limit = int(host.call(Path("/proc/sys/net/ipv4/ipfrag_high_thresh").read_text))
        assert 0 < memory(host) <= limit + (64 << 10)
    answered = traffic.web_answers(lan.client, traffic.flows(lan.client, VIP, 80, 16))
    assert all(answered)
