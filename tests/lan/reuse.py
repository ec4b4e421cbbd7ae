"""Clients that use their ports again, and which hosts answer them: by capture, packet by packet."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from clusterip import bucket
from lab import frames
from lab.capture import capturing
from lab.cluster import BUCKETS
from lab.traffic import Flow
from lab.wait import eventually
from tests.lan.cluster import MODES
from tests.lan.test_ipv6 import CLIENT6

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lab.capture import Capture
    from lab.topology import Client, Lab, Node

REQUEST = b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n"
REQUEST_AND_GO_ON = REQUEST.replace(b"close", b"keep-alive")
_TCP_REPAIR = 19
"""Of linux/tcp.h: in that mode a socket is closed without a packet."""


def sockets(node: Node, state: str, flows: Iterable[Flow]) -> int:
    """Return how many flows have a socket in that state on a node."""
    told = node.run("ss", "-Htn", "state", state).stdout.replace("[", "").replace("]", "").split()
    return sum(f"{one.source}:{one.source_port}" in told for one in flows)


def to_each_bucket(client: Client, vip: str, port: int) -> list[Flow]:
    """Return a flow of the client to each bucket of a VIP's cluster."""
    sources = itertools.cycle(CLIENT6 if ":" in vip else client.addresses)
    found: dict[int, Flow] = {}
    while len(found) < BUCKETS:
        flow = Flow(next(sources), client.fresh_port(), vip, port)
        found.setdefault(number(flow), flow)
    return list(found.values())


def number(flow: Flow) -> int:
    """Return the bucket of a flow."""
    return bucket(MODES[1], BUCKETS, 0, flow.source, flow.source_port, flow.destination_port)


def opened(lan: Lab, flows: Sequence[Flow]) -> list[socket.socket]:
    """Return connections of these flows, which are opened all at once."""

    def bound(flow: Flow) -> socket.socket:
        family = socket.AF_INET6 if ":" in flow.destination else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        one.settimeout(5.0)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((flow.source, flow.source_port))
        return one

    def connect(one: socket.socket, flow: Flow) -> None:
        there = (flow.destination, flow.destination_port)
        # The client's own TIME_WAIT lasts a second, with tcp_tw_reuse (ip-sysctl).
        eventually(lambda: one.connect_ex(there) != errno.EADDRNOTAVAIL)
        assert one.getpeername()[:2] == there

    connections = lan.client.call(lambda: [bound(one) for one in flows])
    with ThreadPoolExecutor(len(flows)) as pool:
        list(pool.map(connect, connections, flows))
    return connections


def read_to_the_end(connections: Sequence[socket.socket]) -> None:
    """Ask for a page on each; the server closes its side then, and the client not yet."""
    for one in connections:
        one.sendall(REQUEST)
    for one in connections:
        page = b"".join(iter(lambda: one.recv(4096), b""))  # noqa: B023
        assert page.startswith(b"HTTP/1.1 200 ")


def read(connections: Sequence[socket.socket]) -> None:
    """Ask for a page on each, which stays open."""
    for one in connections:
        one.sendall(REQUEST_AND_GO_ON)
    for one in connections:
        assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


def close(lan: Lab, connections: Iterable[socket.socket], flows: Sequence[Flow]) -> None:
    """Close connections that the server has closed: nobody lingers, for the FINs are answered."""
    for one in connections:
        one.close()
    eventually(lambda: not sockets(lan.client, "last-ack", flows), within=5.0)


def die(connections: Iterable[socket.socket]) -> None:
    """Have the client's side of connections gone without a word, as when its machine fails."""
    for one in connections:
        one.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        one.close()


def answered_by(lan: Lab, capture: Capture, flows: Sequence[Flow]) -> list[set[str]]:
    """Return for each flow the hosts that sent anything to it."""
    hosts: dict[tuple[str, int], set[str]] = {(one.source, one.source_port): set() for one in flows}
    vips = {one.destination for one in flows}
    for one in capture.seen():
        if isinstance(one, frames.Packet) and one.source in vips:
            hosts[one.destination, one.destination_port].add(lan.name_of(one.from_mac))
    return list(hosts.values())


@contextlib.contextmanager
def only(lan: Lab, hosts: Mapping[Flow, str]) -> Iterator[None]:
    """Hold that nobody but this host answers any packet of a flow during the body, and it does."""
    ports = " or ".join(f"dst port {one.source_port}" for one in hosts)
    with capturing(lan.client, f"tcp and ( {ports} )") as capture:
        yield
    assert answered_by(lan, capture, list(hosts)) == [{name} for name in hosts.values()]
