"""Services of a configuration file that have one bucket, or are dropped: frame by frame."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.config.state import interface_state
from tests.bpf.frames import plain_frame
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import World, decide
from tests.core.config.texts import config_with

VIP = IPv4Address("10.9.0.100")
SINGLE = 5
SERVICES = f"""
service = [
    {{ protocol = "tcp", ports = 22, action = "single", bucket = {SINGLE} }},
    {{ protocol = "tcp", ports = "1-1023" }},
    {{ protocol = "tcp", ports = 111, action = "drop" }},
    {{ protocol = "udp", action = "drop" }},
    {{ protocol = "sctp", action = "single", bucket = {SINGLE} }},
]
"""
RULES = interface_state(config_with("buckets = 64", SERVICES), 7, "eth0")
CLIENTS = [(f"192.0.2.{last}", 1000 + last) for last in range(60)]


def slot(port: int) -> int:
    """Return the counter of the service that has this port alone."""
    (found,) = (
        entry.slot
        for entry in RULES.entries
        for condition in entry.rule.match.destination_ports
        if condition.ranges == ((port, port),)
    )
    return found


def only(bucket: int, deadline: int = NO_DEADLINE) -> World:
    """Return a host that owns that bucket of the 64."""
    states = [BucketState.NONE] * 64
    states[bucket - 1] = BucketState.OWNED
    return World(RULES, {0: states}, {0: deadline}, now=lambda: 1 << 40)


def verdict(loaded: Loaded, frame: bytes, world: World) -> Reason:
    """Return what both hooks and the reference say of a frame."""
    decision = decide(frame, world)
    assert decision.reason is not None
    assert loaded.ingress(frame) == (TC_ACT_SHOT if decision.drops else TC_ACT_UNSPEC)
    assert loaded.xdp(frame) == (XDP_DROP if decision.drops_early else XDP_PASS)
    return decision.reason


def quoting(client: str, client_port: int, port: int, router: str, protocol: int = 6) -> bytes:
    """Return a "too big" of some router about a packet that the VIP sent to a client."""
    inner = struct.pack(">BBHHHBBH", 0x45, 0, 1500, 1, 0x4000, 60, protocol, 0)
    inner += VIP.packed + IPv4Address(client).packed + struct.pack(">HHI", port, client_port, 1)
    icmp = struct.pack(">BBHHH", 3, 4, 0, 0, 1300) + inner
    outer = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0x4000, 64, 1, 0)
    link = plain_frame(client, 1, VIP, 1)[:14]
    return link + outer + IPv4Address(router).packed + VIP.packed + icmp


def fragments(port: int, protocol: int) -> tuple[bytes, bytes]:
    """Return the first and the last fragment of a packet to that port."""
    whole = plain_frame("192.0.2.7", 1000, VIP, port, protocol)
    first, last = bytearray(whole), bytearray(whole)
    first[20:22], last[20:22] = b"\x20\x00", b"\x00\x03"
    return bytes(first), bytes(last)


def test_all_of_a_single_service_is_in_its_bucket(loaded: Loaded) -> None:
    world = only(SINGLE)
    loaded.put(world)
    for client, port in CLIENTS:
        assert verdict(loaded, plain_frame(client, port, VIP, 22), world) is Reason.ACCEPT_OWNED
    traffic = loaded.maps.traffic(0)
    assert traffic[SINGLE - 1][0] == sum(packets for packets, _ in traffic) == len(CLIENTS)
    assert loaded.maps.count(slot(22)).packets[Reason.ACCEPT_OWNED] == len(CLIENTS)
    around = {verdict(loaded, plain_frame(*client, VIP, 80), world) for client in CLIENTS}
    assert Reason.DROP_NOT_OWNED in around


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (only(SINGLE + 1), Reason.DROP_NOT_OWNED),
        (only(SINGLE, deadline=1), Reason.DROP_EXPIRED),
        (World(RULES, {0: [BucketState.TAKING] * 64}), Reason.ACCEPT_TAKING),
        (World(RULES, {0: [BucketState.DRAINING] * 64}), Reason.DROP_DRAINING),
    ],
)
def test_its_bucket_has_states_like_any_other(loaded: Loaded, world: World, reason: Reason) -> None:
    loaded.put(world)
    for client, port in CLIENTS[:5]:
        assert verdict(loaded, plain_frame(client, port, VIP, 22), world) is reason


def test_a_dropped_service_is_a_hole_and_counted(loaded: Loaded) -> None:
    world = World(RULES, {0: [BucketState.OWNED] * 64})
    loaded.put(world)
    for client, port in CLIENTS:
        assert verdict(loaded, plain_frame(client, port, VIP, 111), world) is Reason.DROP_SERVICE
        assert verdict(loaded, plain_frame(client, port, VIP, 112), world) is Reason.ACCEPT_OWNED
    # tc and XDP count what they drop, each by itself.
    assert loaded.maps.count(slot(111)).packets[Reason.DROP_SERVICE] == 2 * len(CLIENTS)
    assert sum(loaded.maps.count(slot(111)).packets.values()) == 2 * len(CLIENTS)
    assert sum(packets for packets, _ in loaded.maps.traffic(0)) == len(CLIENTS)


def test_an_icmp_error_goes_where_the_single_service_is(loaded: Loaded) -> None:
    here, elsewhere = only(SINGLE), only(SINGLE + 1)
    for world, reason in ((here, Reason.ACCEPT_OWNED), (elsewhere, Reason.DROP_NOT_OWNED)):
        loaded.put(world)
        for number, (client, port) in enumerate(CLIENTS):
            frame = quoting(client, port, 22, f"198.51.100.{number}")
            assert verdict(loaded, frame, world) is reason
    loaded.put(here)
    error = quoting("192.0.2.7", 1000, 111, "198.51.100.1")
    assert verdict(loaded, error, here) is Reason.DROP_SERVICE


@pytest.mark.parametrize(
    ("protocol", "first", "later"),
    [
        (17, Reason.DROP_SERVICE, Reason.DROP_FRAGMENT),
        (132, Reason.ACCEPT_OWNED, Reason.ACCEPT_FRAGMENT),
    ],
)
def test_later_fragments_fare_as_the_first(
    loaded: Loaded, protocol: int, first: Reason, later: Reason
) -> None:
    world = only(SINGLE)
    loaded.put(world)
    head, tail = fragments(9, protocol)
    assert verdict(loaded, head, world) is first
    assert verdict(loaded, tail, world) is later
