"""Taking, draining and the deadline, with real sockets in a network namespace of the test."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address

import pytest

from clusterip.adapters.abi import BucketState, Reason
from clusterip.adapters.clock import boottime
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.frames import plain_frame
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import World
from tests.bpf.states import ACK, FIN_ACK, ON_SYN, RST, STATES, SYN, SYN_ACK, WITH, WITHOUT, hold
from tests.namespaces import own_namespace

VIP = IPv4Address("10.9.0.100")
CLIENT = "10.9.1.1"
STRANGER = "10.9.2.2"  # behind the veth pair, where nobody is
RULES = chains.append(
    Chain(), Rule(VIP, "lo", sharing=Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)), 7
).interfaces[0]


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[None]:
    with own_namespace(
        f"address add {VIP}/32 dev lo",
        f"address add {CLIENT}/32 dev lo",
        "address add 10.9.2.1/24 dev eth0",
        f"neighbour add {STRANGER} lladdr 02:00:00:00:00:22 dev eth0",
    ):
        yield


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server((str(VIP), 0)) as one:
        yield one


@contextlib.contextmanager
def connection(listener: socket.socket) -> Iterator[tuple[socket.socket, int]]:
    """Yield the server's side of a connection, and the client's port."""
    with socket.create_connection(listener.getsockname(), source_address=(CLIENT, 0)) as client:
        server, _ = listener.accept()
        with server:
            yield server, client.getsockname()[1]


check = partial(hold, RULES)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("flags", [ACK, FIN_ACK, RST, SYN_ACK])
def test_established(
    loaded: Loaded, listener: socket.socket, state: BucketState, flags: int
) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (_, client_port):
        here = frozenset({(CLIENT, client_port, str(VIP), port)})
        frame = plain_frame(CLIENT, client_port, VIP, port, flags=flags)
        check(loaded, frame, state, WITH[state], here)
        syn = plain_frame(CLIENT, client_port, VIP, port, flags=SYN)
        check(loaded, syn, state, ON_SYN[state], here)


def test_other_protocols_do_not_go_by_tcp_sockets(loaded: Loaded, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (_, client_port):
        here = frozenset({(CLIENT, client_port, str(VIP), port)})
        datagram = plain_frame(CLIENT, client_port, VIP, port, protocol=17)
        check(loaded, datagram, BucketState.DRAINING, Reason.DROP_DRAINING, here)


@pytest.mark.parametrize("state", STATES)
def test_listener_is_no_socket(loaded: Loaded, listener: socket.socket, state: BucketState) -> None:
    port = listener.getsockname()[1]
    check(loaded, plain_frame(CLIENT, 1, VIP, port, flags=ACK), state, WITHOUT[state])
    check(loaded, plain_frame(CLIENT, 1, VIP, port, flags=SYN), state, ON_SYN[state])


@pytest.mark.parametrize("state", STATES)
def test_request_is_a_socket(loaded: Loaded, listener: socket.socket, state: BucketState) -> None:
    port = listener.getsockname()[1]
    source_port = 40000 + state
    syn = plain_frame(STRANGER, source_port, VIP, port, flags=SYN)[14:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(with_checksum(syn), (str(VIP), 0))
    assert f"{STRANGER}:{source_port}" in sockets("syn-recv")
    here = frozenset({(STRANGER, source_port, str(VIP), port)})
    frame = plain_frame(STRANGER, source_port, VIP, port, flags=ACK)
    check(loaded, frame, state, WITH[state], here)


def sockets(state: str) -> str:
    shown = subprocess.run(
        ("ss", "--tcp", "--numeric", "state", state), check=True, capture_output=True, text=True
    )
    return shown.stdout


def with_checksum(packet: bytes) -> bytes:
    """Return an IPv4 packet without options with its TCP checksum set."""
    header, segment = packet[:20], packet[20:]
    pseudo = header[12:20] + struct.pack(">BBH", 0, 6, len(segment))
    words = struct.unpack(f">{(12 + len(segment)) // 2}H", pseudo + segment)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header + segment[:16] + struct.pack(">H", total) + segment[18:]


@pytest.mark.parametrize("protocol", [1, 17, 132, 51])
def test_other_protocols(loaded: Loaded, protocol: int) -> None:
    frame = plain_frame(CLIENT, 1, VIP, 2, protocol)
    check(loaded, frame, BucketState.TAKING, Reason.ACCEPT_TAKING)
    check(loaded, frame, BucketState.DRAINING, Reason.DROP_DRAINING)
    check(loaded, frame, BucketState.OWNED, Reason.ACCEPT_OWNED)
    check(loaded, frame, BucketState.NONE, Reason.DROP_NOT_OWNED)


@pytest.mark.parametrize("protocol", [1, 17, 132, 51])
def test_a_flow_that_was_watched_stays(loaded: Loaded, protocol: int) -> None:
    frame = plain_frame(CLIENT, 1, VIP, 2, protocol)
    loaded.put(World(RULES, {0: [BucketState.WATCHING]}))
    assert loaded.maps.flow_slots(0, 1) == 0
    assert loaded.xdp(frame) == XDP_PASS
    noted = loaded.maps.flow_slots(0, 1)
    assert noted.bit_count() == 1
    assert loaded.ingress(frame) == TC_ACT_UNSPEC
    assert loaded.maps.flow_slots(0, 1) == noted
    for flow_slots, taking, draining in (
        (noted, XDP_DROP, XDP_PASS),
        (~noted, XDP_PASS, XDP_DROP),
    ):
        loaded.maps.set_flow_slots(0, 1, flow_slots & 2**64 - 1)
        loaded.maps.set_bucket(0, 1, BucketState.TAKING)
        assert loaded.xdp(frame) == taking
        loaded.maps.set_bucket(0, 1, BucketState.DRAINING)
        assert loaded.xdp(frame) == draining


def test_of_tcp_no_flow_is_noted(loaded: Loaded) -> None:
    loaded.put(World(RULES, {0: [BucketState.WATCHING]}))
    for flags in (SYN, ACK):
        assert loaded.xdp(plain_frame(CLIENT, 1, VIP, 2, flags=flags)) == XDP_PASS
    assert loaded.maps.flow_slots(0, 1) == 0


@pytest.mark.parametrize("state", [BucketState.OWNED, BucketState.TAKING, BucketState.DRAINING])
def test_deadline_closes_every_accept(
    loaded: Loaded, listener: socket.socket, state: BucketState
) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (_, client_port):
        here = frozenset({(CLIENT, client_port, str(VIP), port)})
        frame = plain_frame(CLIENT, client_port, VIP, port, flags=ACK)
        before = Reason.ACCEPT_OWNED if state is BucketState.OWNED else WITH[state]
        later = boottime() + 60_000_000_000
        check(loaded, frame, state, before, here, later)
        check(loaded, frame, state, Reason.DROP_EXPIRED, here, boottime())
        check(loaded, frame, state, Reason.DROP_EXPIRED, here, 0)


def test_unknown_state_owns_nothing(loaded: Loaded) -> None:
    frame = plain_frame(CLIENT, 1, VIP, 2)
    loaded.put(World(RULES, {0: [BucketState.OWNED]}))
    for value in (5, 6, 255):
        loaded.maps.set_bucket(0, 1, value)  # type: ignore[arg-type]
        assert loaded.xdp(frame) == XDP_DROP


def test_cleared_group_owns_nothing(loaded: Loaded) -> None:
    frame = plain_frame(CLIENT, 1, VIP, 2)
    loaded.put(World(RULES, {0: [BucketState.OWNED]}))
    assert loaded.xdp(frame) == XDP_PASS
    loaded.maps.clear_group(0)
    assert loaded.xdp(frame) == XDP_DROP
    loaded.maps.set_bucket(0, 1, BucketState.OWNED)
    assert loaded.ingress(frame) == TC_ACT_SHOT, "a group without a deadline set is closed"


def too_big(client_port: int, port: int) -> bytes:
    """Return a router's message that what the VIP sent was too big (RFC 1191)."""
    inner = struct.pack(">BBHHHBBH", 0x45, 0, 1500, 1, 0x4000, 64, 6, 0) + VIP.packed
    inner += IPv4Address(CLIENT).packed + struct.pack(">HHI", port, client_port, 1)
    icmp = struct.pack(">BBHHH", 3, 4, 0, 0, 1300) + inner
    outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0x4000, 64, 1, 0)
    link = b"\x01\x00\x5e\x00\x00\x20\x02\x00\x00\x00\x00\x09\x08\x00"
    return link + outer + IPv4Address(STRANGER).packed + VIP.packed + icmp


@pytest.mark.parametrize("state", STATES)
def test_an_icmp_error_goes_where_the_connection_is(
    loaded: Loaded, listener: socket.socket, state: BucketState
) -> None:
    port = listener.getsockname()[1]
    with connection(listener) as (_, client_port):
        frame = too_big(client_port, port)
        here = frozenset({(CLIENT, client_port, str(VIP), port)})
        check(loaded, frame, state, WITH[state], here)
        check(loaded, too_big(1, port), state, WITHOUT[state], here)
