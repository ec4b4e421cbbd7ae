"""The plain path says the same as ci_decide, of all that it decides; and it decides most."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.address import Address
from clusterip.core.limits import VIP_SLOTS, VIPS
from clusterip.core.packets.compile import compile_tables, slot_of
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.frames import plain_frame
from tests.bpf.frames6 import plain_frame6
from tests.bpf.frames_plain import plain_frames
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.paths import NOT_PLAIN, general_only, plain_only
from tests.bpf.reference import Decision, World, decide
from tests.bpf.states import ACK, RST, SYN, SYN_ACK
from tests.bpf.test_differential import mode_of
from tests.bpf.worlds import INDEX, any_address, sharings, worlds

WORLDS = settings().max_examples
FRAMES = 1000
VIP, VIP6 = IPv4Address("10.9.0.100"), IPv6Address("2001:db8::100")
BOTH: tuple[Address, ...] = (VIP, VIP6)
CLIENT, CLIENT6 = "10.9.1.1", "2001:db8:1::1"
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
PART = 3000
"""Bytes that the first buffer has room for, and few more."""

relaxed = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

plain_ones: Counter[tuple[int, Reason | None]] = Counter()
"""Frames that the plain path of tc decided, by version of IP."""
plain_modes: Counter[tuple[int, bool, HashMode] | None] = Counter()
"""Those that were hashed, by how."""
left: Counter[int] = Counter()
"""Frames that it left to the other, by version of IP."""


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The programs without the plain path."""
    one = Loaded(general_only(tmp_path_factory.mktemp("general")))
    yield one
    one.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The programs with nothing but the plain path."""
    one = Loaded(plain_only(tmp_path_factory.mktemp("plain")))
    yield one
    one.close()


def expected_of(decision: Decision) -> tuple[int, int]:
    """Return what XDP and tc say by the reference."""
    return (
        XDP_DROP if decision.drops_early else XDP_PASS,
        TC_ACT_SHOT if decision.drops else TC_ACT_UNSPEC,
    )


def compare(
    loaded: Loaded, general: Loaded, plain: Loaded, world: World, frames: Iterable[bytes]
) -> None:
    """Run frames through all three, and compare all that is seen of them and of the reference."""
    for one in (loaded, general, plain):
        one.put(world)
    ways: dict[int, tuple[int, bool, HashMode] | None] = {}
    for frame in frames:
        decision = decide(frame, world)
        xdp, tc = expected_of(decision)
        for one in (loaded, general):
            assert one.xdp(frame) == xdp, frame.hex()
            assert one.ingress(frame) in {None, tc}, frame.hex()
        assert plain.xdp(frame) in {NOT_PLAIN, xdp}, frame.hex()
        said = plain.ingress(frame)
        assert said in {None, NOT_PLAIN, tc}, frame.hex()
        version = 6 if frame[12:14] == b"\x86\xdd" else 4
        if said == tc:
            plain_ones[version, decision.reason] += 1
            if decision.slot not in ways:
                ways[decision.slot] = mode_of(decision, world)
            plain_modes[ways[decision.slot]] += 1
        else:
            left[version] += 1
    assert loaded.counted(world.rules) == general.counted(world.rules)
    assert loaded.openings() == general.openings() == world.openings
    assert loaded.noted() == general.noted() == world.firsts


def held_or_not(world: World, seed: int) -> World:
    """Return a world whose buckets are owned or another's, most of them, as in a quiet cluster."""
    states = [*8 * [BucketState.NONE], *8 * [BucketState.OWNED], *BucketState]
    chance = random.Random(seed)
    buckets = {table: chance.choices(states, k=256) for table in world.buckets}
    return World(world.rules, buckets, world.deadlines, now=world.now)


@settings(relaxed, max_examples=WORLDS)
@given(worlds(), st.integers(0, 2**32))
def test_random_frames(
    loaded: Loaded, general: Loaded, plain: Loaded, world: World, seed: int
) -> None:
    quiet = held_or_not(world, seed)
    compare(loaded, general, plain, quiet, plain_frames(quiet.rules, seed, FRAMES))


@st.composite
def many_vips(draw: st.DrawFn) -> World:
    """Draw as many VIPs as an interface may have, some of both versions."""
    chain = Chain()
    vips = draw(st.lists(any_address, min_size=VIPS, max_size=VIPS, unique=True))
    sharing = draw(sharings)
    for vip in vips:
        chain = chains.append(chain, Rule(vip, "eth0", Match(), sharing), INDEX)
    rules = chain.interfaces[0]
    tables = {group.index: [BucketState.NONE] * 256 for group in rules.groups}
    return World(rules, tables, dict.fromkeys(tables, NO_DEADLINE))


@settings(relaxed, max_examples=max(5, WORLDS // 10))
@given(many_vips(), st.integers(0, 2**32))
def test_many_vips(loaded: Loaded, general: Loaded, plain: Loaded, world: World, seed: int) -> None:
    compare(loaded, general, plain, world, plain_frames(world.rules, seed, FRAMES))


def test_much_was_decided_by_it() -> None:
    reasons = (None, Reason.DROP_NOT_OWNED, Reason.ACCEPT_OWNED, Reason.DROP_EXPIRED)
    for version, reason in itertools.product((4, 6), reasons):
        assert plain_ones[version, reason] >= 20, (version, reason)
    assert {reason for _, reason in plain_ones} == set(reasons)
    for version, mode in itertools.product((4, 6), HashMode):
        assert plain_modes[version, False, mode] + plain_modes[version, True, mode] >= 20, mode
    for version in (4, 6):
        decided = sum(count for (of, _), count in plain_ones.items() if of == version)
        # By chance a third to two thirds are plain.
        assert decided >= left[version] / 5
        assert left[version] >= 1000


def rules_for(*vips: Address, sharing: Sharing = SHARING) -> InterfaceState:
    chain = Chain()
    for vip in vips:
        chain = chains.append(chain, Rule(vip, "eth0", sharing=sharing), INDEX)
    return chain.interfaces[0]


def frame_to(vip: Address, flags: int = ACK, protocol: int = 6) -> bytes:
    """Return a frame to a VIP that is plain, a datagram with 12 bytes in it."""
    more = bytes(12) if protocol == 17 else b""
    if isinstance(vip, IPv6Address):
        frame = plain_frame6(CLIENT6, 1, vip, 2, protocol, flags) + more
        return told(frame, 18, len(frame) - 54)
    frame = plain_frame(CLIENT, 1, vip, 2, protocol, flags) + more
    return told(frame, 16, len(frame) - 14)


def told(frame: bytes, at: int, number: int) -> bytes:
    """Return a frame of which two bytes say something else."""
    return frame[:at] + number.to_bytes(2, "big") + frame[at + 2 :]


FOUR, SIX = frame_to(VIP), frame_to(VIP6)
EDGES = [
    ("TCP", FOUR, True),
    ("a SYN", frame_to(VIP, SYN), True),
    ("UDP", frame_to(VIP, protocol=17), True),
    ("UDP that is shorter than TCP's header", frame_to(VIP, protocol=17)[:-1], False),
    ("UDP whose length says so", told(frame_to(VIP, protocol=17), 16, 39), False),
    ("another protocol", FOUR[:23] + b"\x84" + FOUR[24:], False),
    ("total length 39", told(FOUR, 16, 39), False),
    ("total length 41, and padding", told(FOUR, 16, 41) + b"\0", True),
    ("padding", FOUR.ljust(60, b"\0"), True),
    ("BIG TCP", told(FOUR, 16, 0), False),
    ("53 bytes", FOUR[:53], False),
    ("header of 24 bytes", FOUR[:14] + b"\x46" + FOUR[15:] + bytes(4), False),
    ("version 5", FOUR[:14] + b"\x55" + FOUR[15:], False),
    ("a first fragment", told(FOUR, 20, 0x2000), False),
    ("a later one", told(FOUR, 20, 1), False),
    ("a later one, far behind", told(FOUR, 20, 0x1000), False),
    ("not to be fragmented", told(FOUR, 20, 0x4000), True),
    ("the reserved bit", told(FOUR, 20, 0x8000), True),
    ("long TCP header, cut off", FOUR[:46] + b"\xf0" + FOUR[47:], True),
    ("a tag", FOUR[:12] + b"\x81\0\0\0" + FOUR[12:], False),
    ("the other version", FOUR[:12] + b"\x86\xdd" + FOUR[14:] + bytes(20), True),
    ("no VIP", frame_to(IPv4Address("10.9.0.101")), True),
    ("ARP", FOUR[:12] + b"\x08\x06" + FOUR[14:], True),
    ("IPv6: TCP", SIX, True),
    ("IPv6: UDP", frame_to(VIP6, protocol=17), True),
    ("IPv6: UDP that is shorter", told(frame_to(VIP6, protocol=17), 18, 19), False),
    ("IPv6: payload length 19", told(SIX, 18, 19), False),
    ("IPv6: payload length 21", told(SIX, 18, 21) + b"\0", True),
    ("IPv6: a jumbogram", told(SIX, 18, 0), False),
    ("IPv6: 73 bytes", SIX[:73], False),
    ("IPv6: an extension header", SIX[:20] + b"\x3c" + SIX[21:], False),
    ("IPv6: a fragment", SIX[:20] + b"\x2c" + SIX[21:], False),
    ("IPv6: ICMP", SIX[:20] + b"\x3a" + SIX[21:], False),
    ("IPv6: version 5", SIX[:14] + b"\x50" + SIX[15:], False),
    ("IPv6: no VIP", frame_to(IPv6Address("2001:db8::101")), True),
]


@pytest.mark.parametrize(
    ("frame", "is_plain"), [one[1:] for one in EDGES], ids=[one[0] for one in EDGES]
)
def test_edges(
    loaded: Loaded, general: Loaded, plain: Loaded, frame: bytes, *, is_plain: bool
) -> None:
    world = World(rules_for(VIP, VIP6))
    compare(loaded, general, plain, world, [frame])
    assert (plain.xdp(frame) != NOT_PLAIN) == is_plain
    if len(frame) >= 54:
        assert (plain.ingress(frame) != NOT_PLAIN) == is_plain


@pytest.mark.parametrize("frame", [told(FOUR, 16, 41), told(SIX, 18, 21)], ids=["IPv4", "IPv6"])
def test_xdp_leaves_what_goes_on_elsewhere(
    loaded: Loaded, general: Loaded, plain: Loaded, frame: bytes
) -> None:
    compare(loaded, general, plain, World(rules_for(VIP, VIP6)), [frame])
    assert plain.xdp(frame) == NOT_PLAIN
    assert plain.ingress(frame) == TC_ACT_SHOT


@pytest.mark.parametrize("frame", [FOUR, SIX], ids=["IPv4", "IPv6"])
def test_a_frame_in_parts_is_counted_whole(loaded: Loaded, plain: Loaded, frame: bytes) -> None:
    at, behind = (18, 54) if frame is SIX else (16, 14)
    for size, is_plain in ((PART, True), (2 * PART, False)):
        whole = told(frame, at, size - behind).ljust(size, b"\0")
        for one in (loaded, plain):
            one.put(World(rules_for(VIP, VIP6)))
        assert (plain.xdp(whole) != NOT_PLAIN) == is_plain
        assert loaded.xdp(whole) == XDP_DROP
        assert loaded.counted(rules_for(VIP, VIP6)).bytes.total() == size


LEASES = {"none": NO_DEADLINE, "held": NO_DEADLINE - 1, "over": 1}


@pytest.mark.parametrize("lease", LEASES)
@pytest.mark.parametrize("state", BucketState)
@pytest.mark.parametrize("flags", [SYN, SYN_ACK, ACK, RST])
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_states(
    loaded: Loaded,
    general: Loaded,
    plain: Loaded,
    vip: Address,
    flags: int,
    state: BucketState,
    lease: str,
) -> None:
    deadlines = {0: LEASES[lease], 1: LEASES[lease]}
    world = World(rules_for(vip), {0: [state] * 256}, deadlines, now=lambda: 1 << 40)
    frame = frame_to(vip, flags)
    client = CLIENT6 if vip is VIP6 else CLIENT
    for known in ({}, *({(client, 1, str(vip), 2): whose} for whose in ("theirs", "ours"))):
        world.openings.clear()
        world.openings.update(known)
        compare(loaded, general, plain, world, [frame])
    decided = state in {BucketState.NONE, BucketState.OWNED}
    assert (plain.xdp(frame) != NOT_PLAIN) == decided
    assert (plain.ingress(frame) != NOT_PLAIN) == decided
    if state is BucketState.OWNED:
        # Whatever the time: tc discards it if it is late.
        assert plain.xdp(frame) == XDP_PASS


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_datagram_is_no_syn(loaded: Loaded, general: Loaded, plain: Loaded, vip: Address) -> None:
    client = CLIENT6 if vip is VIP6 else CLIENT
    known = {(client, 1, str(vip), 2): "theirs"}
    world = World(rules_for(vip), {0: [BucketState.OWNED]}, openings=known)
    frame = frame_to(vip, protocol=17)
    at = 54 if vip is VIP6 else 34
    compare(loaded, general, plain, world, [told(frame, at + 12, 0x5000 | SYN)])
    assert world.openings


@pytest.mark.parametrize("mode", HashMode)
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_hash_modes(
    loaded: Loaded, general: Loaded, plain: Loaded, vip: Address, mode: HashMode
) -> None:
    sharing = Sharing(mode, Mac("01005e000020"), 256, 7, 64)
    world = World(rules_for(vip, sharing=sharing))
    frame = frame_to(vip)
    at = 54 if vip is VIP6 else 34
    frames = [
        told(told(frame, at, source), at + 2, destination)
        for source, destination in itertools.product((1, 256, 65535), repeat=2)
    ]
    compare(loaded, general, plain, world, frames)
    assert all(plain.xdp(one) == XDP_DROP for one in frames)


def test_rules_of_tcp_and_of_udp(loaded: Loaded, general: Loaded, plain: Loaded) -> None:
    chain = Chain()
    for vip, protocol in itertools.product(BOTH, (6, 17)):
        chain = chains.append(chain, Rule(vip, "eth0", Match(protocol), SHARING), INDEX)
    world = World(chain.interfaces[0])
    frames = [frame_to(vip, protocol=of) for vip in BOTH for of in (6, 17)]
    compare(loaded, general, plain, world, frames)
    assert {plain.xdp(frame) for frame in frames} == {XDP_DROP}
    slots = [entry.slot for entry in world.rules.entries]
    assert [loaded.maps.count(slot).packets[Reason.DROP_NOT_OWNED] for slot in slots] == [2] * 4


def test_a_port_is_found_by_both_of_its_bytes(
    loaded: Loaded, general: Loaded, plain: Loaded
) -> None:
    match = Match(6, destination_ports=(Ports("tcp", ((0x0150, 0x0150),)),))
    chain = Chain()
    for vip in BOTH:
        chain = chains.append(chain, Rule(vip, "eth0", match, SHARING), INDEX)
    world = World(chain.interfaces[0])
    for frame, at in ((FOUR, 36), (SIX, 56)):
        others = [told(frame, at, port) for port in (0x5001, 0x5050, 0x0101, 0x0151, 0x0250)]
        compare(loaded, general, plain, world, [told(frame, at, 0x0150), *others])
        assert plain.xdp(told(frame, at, 0x0150)) == XDP_DROP
        assert {plain.xdp(other) for other in others} == {NOT_PLAIN}


def test_a_vip_in_each_slot(loaded: Loaded, general: Loaded, plain: Loaded) -> None:
    seed = compile_tables(rules_for(VIP)).vip_seed  # of any single VIP
    by_slot: dict[int, IPv4Address] = {}
    for number in itertools.count(int(VIP)):
        by_slot.setdefault(slot_of(IPv4Address(number), seed), IPv4Address(number))
        if len(by_slot) == VIP_SLOTS:
            break
    for slot in (0, 1, 2, VIP_SLOTS // 2, VIP_SLOTS - 2, VIP_SLOTS - 1):
        world = World(rules_for(by_slot[slot]))
        frames = [frame_to(by_slot[other]) for other in range(0, VIP_SLOTS, 7)]
        compare(loaded, general, plain, world, [*frames, frame_to(by_slot[slot])])
        assert plain.xdp(frame_to(by_slot[slot])) == XDP_DROP


NOBODY = IPv4Address("0.0.0.0")
EVERYBODY = IPv4Address("255.255.255.255")


def in_slot_0() -> Iterator[Address]:
    """Yield VIPs that are where 0.0.0.0 would be: one of IPv4 and one of IPv6."""
    seed = compile_tables(rules_for(VIP)).vip_seed
    for first in (VIP, VIP6):
        numbers = (type(first)(int(first) + at) for at in itertools.count())
        yield next(one for one in numbers if slot_of(one, seed) == 0)


@pytest.mark.parametrize("vip", [VIP, EVERYBODY, *in_slot_0()], ids=str)
def test_addresses_that_are_odd(
    loaded: Loaded, general: Loaded, plain: Loaded, vip: Address
) -> None:
    world = World(rules_for(vip), {0: [BucketState.OWNED]})
    compare(loaded, general, plain, world, map(frame_to, (NOBODY, EVERYBODY, vip)))
    for protocol in (6, 17):
        assert loaded.xdp(frame_to(NOBODY, protocol=protocol)) == XDP_PASS


def test_before_there_are_rules() -> None:
    fresh = Loaded()
    try:
        for address in (NOBODY, VIP, VIP6):
            assert fresh.xdp(frame_to(address)) == XDP_PASS
            assert fresh.ingress(frame_to(address)) == TC_ACT_UNSPEC
    finally:
        fresh.close()


def test_datagrams_to_others_are_heard_in_tc(plain: Loaded) -> None:
    plain.put(World(rules_for(VIP)))
    frame = frame_to(IPv4Address("10.9.0.101"), protocol=17)
    assert plain.ingress(frame) == NOT_PLAIN
    assert plain.xdp(frame) == XDP_PASS
