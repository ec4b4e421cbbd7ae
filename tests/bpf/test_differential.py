"""Generated frames get the same verdict and counters from the programs and from plain Python."""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from clusterip.adapters.abi import Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import ServiceAction
from clusterip.core.packets.state import Entry
from tests.bpf.frames6 import both_versions, header6
from tests.bpf.loaded import (
    TC_ACT_SHOT,
    TC_ACT_UNSPEC,
    XDP_DROP,
    XDP_PASS,
    Loaded,
    nothing,
    tally,
)
from tests.bpf.reading import TAGS
from tests.bpf.reference import Decision, World, decide
from tests.bpf.worlds import ipv4, ipv6, worlds

WORLDS = 5 * settings().max_examples  # 500, and fewer for each mutant
FRAMES = 1000  # of each world: 500,000 frames, each through both ingress hooks

relaxed = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


seen: Counter[Reason | None] = Counter()
seen6: Counter[Reason | None] = Counter()
"""The same, of IPv6 frames alone."""
seen_tagged: Counter[Reason | None] = Counter()
"""The same, of frames with a tag."""
modes: Counter[tuple[int, bool, HashMode] | None] = Counter()
"""Packets hashed, by version of IP and by a mode, the VIP's (False) or the service's own (True)."""
singles: Counter[tuple[int, bool]] = Counter()
"""Packets of a service that has one bucket, by version of IP and whether they were accepted."""


def entry_of(decision: Decision, world: World) -> Entry | None:
    return next((one for one in world.rules.entries if one.slot == decision.slot), None)


def single(decision: Decision, world: World) -> tuple[int, bool] | None:
    entry = entry_of(decision, world)
    if entry is None or entry.rule.action is not ServiceAction.SINGLE:
        return None
    return entry.rule.vip.version, not decision.drops


def mode_of(decision: Decision, world: World) -> tuple[int, bool, HashMode] | None:
    entry = entry_of(decision, world)
    if (
        entry is None
        or entry.rule.sharing is None
        or entry.rule.action is not ServiceAction.BALANCE
    ):
        return None
    group = world.rules.group(entry.rule.vip)
    assert group is not None
    mode = entry.rule.sharing.mode
    return entry.rule.vip.version, mode is not group.sharing.mode, mode


def compare(loaded: Loaded, world: World, frames: Iterable[bytes]) -> None:
    """Run frames through tc and XDP, which counts what it drops; compare all that is seen."""
    loaded.put(world)
    expected = nothing()
    ways: dict[int, tuple[int, bool, HashMode] | None] = {}
    for frame in frames:
        decision = decide(frame, world)
        seen[decision.reason] += 1
        seen6[decision.reason] += frame[12:14] == b"\x86\xdd"
        seen_tagged[decision.reason] += frame[12:14] in TAGS
        if decision.slot not in ways:
            ways[decision.slot] = mode_of(decision, world)
        modes[ways[decision.slot]] += 1
        if place := single(decision, world):
            singles[place] += 1
        tc, xdp = loaded.ingress(frame), loaded.xdp(frame)
        assert tc in {None, TC_ACT_SHOT if decision.drops else TC_ACT_UNSPEC}, frame.hex()
        assert xdp == (XDP_DROP if decision.drops_early else XDP_PASS), frame.hex()
        for _ in range((tc is not None) + decision.drops_early):
            tally(expected, decision, len(frame))
    counted = loaded.counted(world.rules)
    assert counted.verdicts == expected.verdicts
    assert counted.bytes == expected.bytes
    assert counted.buckets == expected.buckets
    assert counted.bucket_bytes == expected.bucket_bytes
    assert loaded.noted() == world.firsts
    assert loaded.openings() == world.openings
    for (table, at), flow_slots in world.flow_slots.items():
        if world.buckets[table][at]:
            assert loaded.maps.flow_slots(table, at + 1) == flow_slots


@settings(relaxed, max_examples=WORLDS)
@given(worlds(), st.integers(0, 2**32))
def test_random_frames(loaded: Loaded, world: World, seed: int) -> None:
    compare(loaded, world, both_versions(world.rules, seed, FRAMES))


NOT_HERE = {
    Reason.ARP_REWRITTEN,
    Reason.DROP_ARP,
    Reason.DROP_ELSEWHERE,
    Reason.DROP_ARP_ELSEWHERE,
}
"""What leaves, and what comes and goes at other interfaces."""


def test_every_verdict_was_among_them() -> None:
    ingress = {None, *Reason} - NOT_HERE
    assert {reason for reason in ingress if seen[reason] < 300} == set()
    assert {reason for reason in ingress if seen6[reason] < 100} == set()
    assert {reason for reason in ingress if seen_tagged[reason] < 20} == set()
    assert sum(seen.values()) >= WORLDS * FRAMES
    assert {
        (version, accepted)
        for version in (4, 6)
        for accepted in (False, True)
        if singles[version, accepted] < 200
    } == set()
    # A VIP hashes in one way or each of its services in its own.
    for own, mode in itertools.product((False, True), HashMode):
        assert modes[4, own, mode] + modes[6, own, mode] >= 500, (own, mode)
    for version, mode in itertools.product((4, 6), HashMode):
        assert modes[version, False, mode] + modes[version, True, mode] >= 500, (version, mode)


ports = st.integers(0, 0xFFFF)
transports = st.one_of(
    st.builds(TCP, sport=ports, dport=ports, flags=st.sampled_from(["S", "SA", "A", "F", "SEC"])),
    st.builds(UDP, sport=ports, dport=ports),
    st.builds(SCTP, sport=ports, dport=ports),
    st.builds(ICMP, type=st.sampled_from([0, 3, 8, 11])),
    st.builds(ESP, spi=st.integers(0, 2**32 - 1)),
    st.builds(AH, spi=st.integers(0, 2**32 - 1)),
)
options = st.sampled_from([[], [IPOption_RR()], [IPOption_RR(length=39)]])


@st.composite
def packets(draw: st.DrawFn, vips: list[str]) -> Packet:
    """Draw a packet as a network stack would build it, tagged or fragmented at times."""
    address = draw(
        st.integers(0, 2**32 - 1).map(lambda n: ".".join(map(str, n.to_bytes(4, "big"))))
    )
    ip = IP(src=address, dst=draw(st.sampled_from(vips)), options=draw(options))
    ip.flags = draw(st.sampled_from([0, "DF", "MF"]))
    ip.frag = draw(st.sampled_from([0, 0, 0, 1, 185]))
    link = Ether(dst="01:00:5e:00:00:20", src="02:00:00:00:00:09")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 3]))):
        link /= Dot1Q(vlan=draw(st.sampled_from([0, 0, 0, 1, 4094])), prio=draw(st.integers(0, 7)))
    whole: Packet = link / ip / draw(transports) / Raw(draw(st.binary(max_size=64)))
    return whole


@settings(relaxed, max_examples=200)
@given(st.data())
def test_packets_of_scapy(loaded: Loaded, data: st.DataObject) -> None:
    world = data.draw(worlds(ipv4))
    vips = [str(group.vip) for group in world.rules.groups]
    compare(loaded, world, [bytes(one) for one in data.draw(st.lists(packets(vips), max_size=10))])


@pytest.mark.parametrize("size", [*range(14, 60), *range(60, 150, 5)])
def test_frame_cut_anywhere(loaded: Loaded, size: int) -> None:
    @settings(relaxed, max_examples=3)
    @given(worlds(), st.integers(0, 2**32))
    def check(world: World, seed: int) -> None:
        frames = both_versions(world.rules, seed, 20)
        compare(loaded, world, [frame[:size].ljust(14, b"\0") for frame in frames])

    check()


def error6(vip: IPv6Address, protocol: int, cut: int) -> bytes:
    """Return a frame with an ICMPv6 error about a packet of the VIP; its last bytes are padding."""
    host = IPv6Address("2001:db8::9")
    quoted = struct.pack(">IHBB", 6 << 28, 1400, protocol, 64) + vip.packed + host.packed
    whole = header6(str(host), vip, 58, b"\x02" + bytes(7) + quoted + bytes(range(8)))
    length = int.from_bytes(whole[18:20]) - cut
    return whole[:18] + length.to_bytes(2) + whole[20:]


@settings(relaxed, max_examples=20)
@given(worlds(ipv6), st.sampled_from([6, 17]))
def test_what_an_error_quotes_ends_with_the_packet(
    loaded: Loaded, world: World, protocol: int
) -> None:
    vips = [group.vip for group in world.rules.groups]
    frames = [
        error6(vip, protocol, cut)
        for vip in vips
        for cut in range(57)
        if isinstance(vip, IPv6Address)
    ]
    compare(loaded, world, frames)


@settings(relaxed, max_examples=5)
@given(worlds())
def test_every_type_of_icmp(loaded: Loaded, world: World) -> None:
    """What is an error, and what every host must hear, ends with a type that chance may miss."""
    frames = []
    for vip, kind in itertools.product((group.vip for group in world.rules.groups), range(256)):
        message = bytes((kind,)) + bytes(7)
        if isinstance(vip, IPv6Address):
            frames.append(header6("2001:db8::9", vip, 58, message + bytes(56)))
        else:
            link = Ether(dst="01:00:5e:00:00:20", src="02:00:00:00:00:09")
            packet = link / IP(src="192.0.2.9", dst=str(vip), proto=1) / Raw(message + bytes(28))
            frames.append(bytes(packet))
    compare(loaded, world, frames)
