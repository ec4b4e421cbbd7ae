"""Taking and draining with real IPv6 sockets, in a network namespace of the test."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from clusterip.adapters.abi import BucketState, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.frames6 import header6, plain_frame6
from tests.bpf.loaded import TC_ACT_UNSPEC, XDP_PASS, Loaded
from tests.bpf.reference import Socket, World, decide
from tests.bpf.states import ACK, FIN_ACK, ON_SYN, RST, STATES, SYN, WITH, WITHOUT, hold
from tests.namespaces import ip, own_namespace

VIP = IPv6Address("2001:db8::100")
CLIENT = "2001:db8:1::1"
ROUTER = "2001:db8:2::1"
RULES = chains.append(
    Chain(), Rule(VIP, "lo", sharing=Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)), 7
).interfaces[0]


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace():
        Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")
        for address in (VIP, CLIENT):
            ip(f"address add {address}/128 dev lo nodad")
        yield


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server((str(VIP), 0), family=socket.AF_INET6) as one:
        yield one


@contextlib.contextmanager
def connection(listener: socket.socket) -> Iterator[tuple[int, frozenset[Socket]]]:
    """Yield the client's port of a connection, and the socket as the reference has it."""
    ends = listener.getsockname()[:2]
    with socket.create_connection(ends, source_address=(CLIENT, 0)) as client:
        server, _ = listener.accept()
        with server:
            port = client.getsockname()[1]
            yield port, frozenset({(CLIENT, port, str(VIP), ends[1])})


check = partial(hold, RULES)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("flags", [ACK, FIN_ACK, RST])
def test_established(
    loaded: Loaded, listener: socket.socket, state: BucketState, flags: int
) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (client_port, here):
        frame = plain_frame6(CLIENT, client_port, VIP, port, flags=flags)
        check(loaded, frame, state, WITH[state], here)
        check(loaded, frame, state, Reason.DROP_EXPIRED, here, deadline=0)
        syn = plain_frame6(CLIENT, client_port, VIP, port, flags=SYN)
        check(loaded, syn, state, ON_SYN[state], here)


@pytest.mark.parametrize("state", STATES)
def test_listener_is_no_socket(loaded: Loaded, listener: socket.socket, state: BucketState) -> None:
    port = listener.getsockname()[1]
    check(loaded, plain_frame6(CLIENT, 1, VIP, port, flags=ACK), state, WITHOUT[state])
    check(loaded, plain_frame6(CLIENT, 1, VIP, port, flags=SYN), state, ON_SYN[state])


def too_big(client_port: int, port: int) -> bytes:
    """Return a router's message that what the VIP sent was too big (RFC 4443, 3.2)."""
    inner = struct.pack(">IHBB", 6 << 28, 1400, 6, 64) + VIP.packed + IPv6Address(CLIENT).packed
    inner += struct.pack(">HHI", port, client_port, 1)
    return header6(ROUTER, VIP, 58, struct.pack(">BBHI", 2, 0, 0, 1300) + inner)


@pytest.mark.parametrize("state", STATES)
def test_an_icmpv6_error_goes_where_the_connection_is(
    loaded: Loaded, listener: socket.socket, state: BucketState
) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (client_port, here):
        check(loaded, too_big(client_port, port), state, WITH[state], here)
        check(loaded, too_big(1, port), state, WITHOUT[state], here)


@pytest.mark.parametrize("kind", [130, 133, 135, 136, 143])
def test_neighbours_are_heard_by_every_host(loaded: Loaded, kind: int) -> None:
    frame = header6(ROUTER, VIP, 58, bytes((kind, 0)) + bytes(22))
    world = World(RULES, {0: [BucketState.NONE]}, {0: 0})
    loaded.put(world)
    assert decide(frame, world).reason is None
    assert loaded.ingress(frame) == TC_ACT_UNSPEC
    assert loaded.xdp(frame) == XDP_PASS
    assert not sum(loaded.maps.count(0).packets.values())
