"""Frames tagged with VLAN id 0 are no VLAN's: they are answered as if they had no tag.

A tag arrives beside the frame, as from a NIC that takes it off, or in it. Judged at the client.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from clusterip import bucket
from lab import frames, traffic
from lab.capture import capturing
from lab.cluster import BUCKETS, Cluster, cluster_file
from lab.offloads import carry_tags_aside
from lab.servers import HTTP_PORT, UDP_PORT
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.cluster import MODES
from tests.lan.fragments import send_frames
from tests.lan.test_ipv6 import VIP6, ipv6_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Client, Lab

TAGS = [
    b"",
    b"\x81\x00\x00\x00",
    b"\x81\x00\xe0\x00",
    b"\x88\xa8\x00\x00",
    b"\x88\xa8\x20\x00\x81\x00\x20\x00",
]
ASKED = 12  # of each kind, with each tag, of each IP version
Answers = Counter[tuple[int, str, int, str]]
"""Protocol, client's address and its port (or an echo's number), and who answered."""


@pytest.fixture
def clients(lan: Lab) -> Iterator[dict[str, Client]]:
    """The client by VIP, with IPv6 addresses for that one; the hosts have IPv6 too."""
    with ipv6_client(lan) as six:
        yield {VIP: lan.client, VIP6: six}


@pytest.fixture(params=["beside", "in"])
def tags_carried(lan: Lab, request: pytest.FixtureRequest) -> Iterator[None]:
    """Where tags are when they come to a host: beside the frame or in it."""
    for host in lan.hosts:
        carry_tags_aside(lan.switch, host.name, on=request.param == "beside")
    yield
    for host in lan.hosts:
        carry_tags_aside(lan.switch, host.name, on=True)


def requests(client: Client, vip: str) -> list[tuple[frames.Request, bytes]]:
    """Return pings, datagrams and SYNs, each with what is behind the link header."""
    found = []
    ports = {frames.ICMP: 0, frames.UDP: UDP_PORT, frames.TCP: HTTP_PORT}
    for protocol, port in ports.items():
        for flow in traffic.flows(client, vip, port, ASKED):
            sport = flow.source_port
            ip = (IPv6 if ":" in vip else IP)(src=flow.source, dst=vip)
            if protocol == frames.TCP:
                packet = ip / TCP(sport=sport, dport=port, flags="S", seq=sport)
            elif protocol == frames.UDP:
                packet = ip / UDP(sport=sport, dport=port) / Raw(b"who?")
            else:
                packet = ip / (ICMPv6EchoRequest if ":" in vip else ICMP)(id=sport)
            asked = frames.Request(protocol, flow.source, flow.source_port, vip, port)
            found.append((asked, bytes(packet)))
    return found


def ask(
    lan: Lab, client: Client, vip: str, mac: str, tags: bytes
) -> tuple[list[frames.Request], Answers]:
    """Send requests with these tags; returns them and all that came back from the VIP."""
    asked = requests(client, vip)
    link = bytes(Ether(src=client.mac, dst=mac, type=0x86DD if ":" in vip else 0x0800))
    with capturing(client, f"src host {vip}") as capture:
        client.call(lambda: send_frames([link[:12] + tags + link[12:] + one for _, one in asked]))
    answers = Counter(
        (one.protocol, one.destination, port, lan.name_of(one.from_mac))
        for one in capture.seen()
        if isinstance(one, frames.Packet)
        # What answers an echo has its number in the place of a source port.
        and (port := one.source_port if one.protocol == frames.ICMP else one.destination_port)
        and (one.protocol != frames.TCP or one.kind == frames.SYN | frames.ACK)
        and (one.protocol != frames.ICMP or one.kind == frames.ECHO_REPLY)
    )
    return [one for one, _ in asked], answers


@pytest.mark.usefixtures("tags_carried")
def test_answered_once_and_not_at_all_when_the_lease_is_over(
    lan: Lab, clients: dict[str, Client]
) -> None:
    cluster = Cluster(lan, cluster_file(lan, vips=(VIP6, VIP), hashmode=MODES[1]))
    cluster.start_all()
    try:
        held = cluster.settled()
        owner = {one: name for name, buckets in held.items() for one in buckets}
        macs = {}
        for vip, client in clients.items():
            traffic.ping(client, vip, 1)
            macs[vip] = client.neighbour(vip)

        def answered(vip: str, tags: bytes) -> Answers:
            return ask(lan, clients[vip], vip, macs[vip], tags)[1]

        for vip, client in clients.items():
            for tags in TAGS:
                asked, answers = ask(lan, client, vip, macs[vip], tags)
                expected: Answers = Counter()
                for one in asked:
                    port = one.source_port if one.protocol != frames.ICMP else 0
                    number = bucket(MODES[1], BUCKETS, 0, one.source, port)
                    expected[one.protocol, one.source, one.source_port, owner[number]] += 1
                assert answers == expected, (vip, tags.hex())
    finally:
        for host in cluster.hosts:
            cluster.kill(host)
    eventually(lambda: not answered(VIP, b"") and not answered(VIP6, b""), within=20.0)
    for vip in clients:
        for tags in TAGS:
            assert not answered(vip, tags), (vip, tags.hex())
