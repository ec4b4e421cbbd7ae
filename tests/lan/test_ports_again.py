"""A client that uses its ports again while connections from before drain: one host answers.

The web server closes first, so its host keeps sockets in TIME_WAIT for the ends of connections
that another host has by now. Judged at the client, packet by packet.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from lab import frames, traffic
from lab.capture import capturing
from lab.cluster import BUCKETS
from lab.gaps import Hashing
from lab.load import LiveConnections
from lab.servers import HTTP_PORT
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.clusters import Site, patiently, site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.capture import Capture
    from lab.topology import Host, Node
    from lab.traffic import Flow

FLOWS = 40
HALF_CLOSED = 20
REQUEST = b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n"


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as made:
        yield made


def flows_of(web: Site, host: Host, count: int) -> list[Flow]:
    """Return flows from fresh ports that a host answers now."""
    held, hashing = set(web.cluster.status(host)["held"]), Hashing(BUCKETS)
    some = traffic.flows(web.lan.client, VIP, HTTP_PORT, 20 * count)
    mine = [one for one in some if hashing.bucket(one.source, one.source_port, HTTP_PORT) in held][
        :count
    ]
    assert len(mine) == count
    return mine


def sockets(node: Node, state: str, flows: Iterable[Flow]) -> int:
    """Return how many flows have a socket in that state on a node."""
    told = node.run("ss", "-Htn", "state", state).stdout.split()
    return sum(f"{one.source}:{one.source_port}" in told for one in flows)


def half_closed(flow: Flow) -> socket.socket:
    """Return a connection whose server has closed it, and whose client has not."""
    one = socket.create_connection((VIP, HTTP_PORT), 5.0, (flow.source, flow.source_port))
    one.sendall(REQUEST)
    while one.recv(4096):
        pass
    return one


def answered_by(web: Site, capture: Capture, flows: Iterable[Flow]) -> list[set[str]]:
    """Return for each flow the hosts that sent anything since its client's last SYN."""
    hosts: dict[tuple[str, int], set[str]] = {(one.source, one.source_port): set() for one in flows}
    for packet in capture.seen():
        if not isinstance(packet, frames.Packet) or packet.protocol != frames.TCP:
            continue
        asks = packet.destination == VIP
        ends = (
            (packet.source, packet.source_port)
            if asks
            else (packet.destination, packet.destination_port)
        )
        if ends not in hosts:
            continue
        if not asks:
            hosts[ends].add(web.lan.name_of(packet.from_mac))
        elif packet.kind & (frames.SYN | frames.ACK) == frames.SYN:
            hosts[ends].clear()
    return list(hosts.values())


def again(web: Site, flows: list[Flow]) -> list[str]:
    """Use the ports again: each connection works, and has one host. Returns the hosts."""
    with capturing(web.lan.client, "tcp") as capture:
        told = traffic.web_answers(web.lan.client, flows)
    assert [{one} for one in told] == answered_by(web, capture, flows)
    return told


def test_ports_used_again_while_others_drain(web: Site) -> None:
    patiently(web, lambda: there_and_back(web))


def there_and_back(web: Site) -> None:
    client, host = web.lan.client, web.lan.hosts[1]
    web.cluster.settled()
    # These keep each bucket draining for as long as they live.
    live = LiveConnections(client, VIP, count=200)
    live.wait_ready()
    flows = flows_of(web, host, FLOWS)
    halves = flows_of(web, host, HALF_CLOSED)
    opened = client.call(lambda: [half_closed(one) for one in halves])
    assert set(again(web, flows)) == {host.name}
    assert sockets(host, "time-wait", flows) == FLOWS
    eventually(lambda: sockets(host, "fin-wait-2", halves) == HALF_CLOSED)

    host.clusterip("drain")
    web.cluster.settled(web.others(host))
    assert len(web.cluster.status(host)["draining"]) >= BUCKETS // 3
    with capturing(client, "tcp") as capture:
        for one in opened:
            one.close()
        # Nobody lingers: the host that has the other half answers the FIN.
        eventually(lambda: sockets(client, "last-ack", halves) == 0, within=5.0)
    assert answered_by(web, capture, halves) == [{host.name}] * HALF_CLOSED
    for _ in range(2):
        assert host.name not in again(web, [*flows, *halves])

    # And back, to a host that has sockets from before, while the others drain.
    host.clusterip("undrain")
    held = web.cluster.settled()
    assert any(web.cluster.status(one)["draining"] for one in web.others(host))
    hashing, told = Hashing(BUCKETS), again(web, [*flows, *halves])
    back = [
        hashing.bucket(one.source, one.source_port, HTTP_PORT) in held[host.name]
        for one in (*flows, *halves)
    ]
    assert [name == host.name for name in told] == back
    assert any(back)
    live.stop()
    assert live.broken() == []
