"""What is known of first fragments: of which packets, of how many, and for how long."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import pytest

from clusterip.adapters.abi import BucketState, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from tests.bpf.frames import MACS
from tests.bpf.frames6 import header6
from tests.bpf.loaded import TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import World

VIP, VIP6 = IPv4Address("10.9.0.100"), IPv6Address("2001:db8::100")
CLIENT, CLIENT6 = "10.9.1.1", "2001:db8:1::1"
ROUTER, ROUTER6 = "10.9.2.1", "2001:db8:2::1"
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
RULES = chains.append(
    chains.append(Chain(), Rule(VIP, "eth0", sharing=SHARING), 7),
    Rule(VIP6, "eth0", sharing=SHARING),
    7,
).interfaces[0]
MANY = 50_000  # of each IP version
MOST = 4096  # CI_FRAGMENTS
SECOND = 1_000_000_000
UDP, ICMP, ICMPV6 = 17, 1, 58
CONTENT = struct.pack(">HHHH", 1024, 53, 8008, 0) + bytes(16)


def header4(source: str, destination: str, protocol: int, place: int, number: int) -> bytes:
    """Return an IPv4 header; `place` is flags and offset."""
    start = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(CONTENT), number, place, 64, protocol, 0)
    return start + IPv4Address(source).packed + IPv4Address(destination).packed


@dataclass(frozen=True)
class Four:
    """Fragments of IPv4."""

    def fragment(self, at: int, number: int, *, more: bool = True) -> bytes:
        """Return a fragment of a datagram, `at` bytes into it."""
        place = more << 13 | at // 8
        link = MACS[0] + MACS[1] + b"\x08\x00"
        return link + header4(CLIENT, str(VIP), UDP, place, number) + CONTENT

    def error(self, number: int, *, quoted_place: int, more: bool) -> bytes:
        """Return an ICMP error of that id about a fragment that the VIP sent."""
        inner = header4(str(VIP), CLIENT, UDP, quoted_place, 1) + CONTENT[:8]
        message = bytes((3, 4, 0, 0, 0, 0, 5, 20)) + inner
        outer = bytearray(header4(ROUTER, str(VIP), ICMP, more << 13, number))
        outer[2:4] = struct.pack(">H", 20 + len(message))
        return MACS[0] + MACS[1] + b"\x08\x00" + bytes(outer) + message


@dataclass(frozen=True)
class Six:
    """Fragments of IPv6."""

    def fragment(self, at: int, number: int, *, more: bool = True) -> bytes:
        """Return a fragment of a datagram, `at` bytes into it."""
        place = struct.pack(">BBHI", UDP, 0, at | more, number)
        return header6(CLIENT6, VIP6, 44, place + CONTENT)

    def error(self, number: int, *, quoted_place: int, more: bool) -> bytes:
        """Return an ICMPv6 error about a fragment, of that id, that the VIP sent.

        With `more`, it is itself the first fragment of that id, and what it quotes is whole.
        """
        extension = struct.pack(">BBHI", UDP, 0, quoted_place << 3, number)
        inner = struct.pack(">IHBB", 6 << 28, 1400, UDP if more else 44, 64)
        inner += VIP6.packed + IPv6Address(CLIENT6).packed + (b"" if more else extension)
        message = bytes((2, 0, 0, 0, 0, 0, 5, 20)) + inner + CONTENT[:8]
        if not more:
            return header6(ROUTER6, VIP6, ICMPV6, message)
        return header6(ROUTER6, VIP6, 44, struct.pack(">BBHI", ICMPV6, 0, 1, number) + message)


versions = pytest.mark.parametrize("version", [Four(), Six()], ids=["ipv4", "ipv6"])


def own(loaded: Loaded, state: BucketState) -> World:
    """Make all buckets, which are one of each VIP, be of that state."""
    world = World(RULES, {group.index: [state] for group in RULES.groups})
    loaded.put(world)
    return world


@versions
def test_later_fragments_alone_are_not_noted(loaded: Loaded, version: Four | Six) -> None:
    own(loaded, BucketState.NONE)
    frames = [
        version.fragment(24 + at % 100 * 8, at % 60_000, more=at % 3 > 0) for at in range(MANY)
    ]
    assert {loaded.xdp(frame) for frame in frames} == {XDP_PASS}
    assert {loaded.ingress(frame) for frame in frames[: MANY // 10]} == {TC_ACT_UNSPEC}
    assert not loaded.noted()


@versions
def test_every_bit_of_the_offset_makes_a_later_fragment(
    loaded: Loaded, version: Four | Six
) -> None:
    own(loaded, BucketState.NONE)
    for bit in range(13):
        assert loaded.xdp(version.fragment(8 << bit, bit)) == XDP_PASS
    assert loaded.xdp(version.fragment(0, 13)) == XDP_DROP


@versions
def test_what_is_whole_is_not_noted(loaded: Loaded, version: Four | Six) -> None:
    own(loaded, BucketState.NONE)
    assert loaded.xdp(version.fragment(0, 7, more=False)) == XDP_DROP
    assert not loaded.noted()


@versions
def test_no_more_than_so_many_are_noted_and_the_newest_are(
    loaded: Loaded, version: Four | Six
) -> None:
    own(loaded, BucketState.NONE)
    for number in range(MOST * 2):
        assert loaded.xdp(version.fragment(0, number)) == XDP_DROP
    assert 0 < len(loaded.noted()) <= MOST
    # Later ones of the newest, which is known; of the oldest, which is not.
    assert loaded.xdp(version.fragment(24, MOST * 2 - 1)) == XDP_DROP
    assert loaded.xdp(version.fragment(24, 0)) == XDP_PASS


@versions
def test_the_same_id_later_is_another_packet(loaded: Loaded, version: Four | Six) -> None:
    own(loaded, BucketState.NONE)
    assert loaded.xdp(version.fragment(0, 7)) == XDP_DROP
    loaded.age(SECOND)
    assert loaded.xdp(version.fragment(24, 7)) == XDP_DROP
    loaded.age(SECOND)
    assert loaded.xdp(version.fragment(24, 7)) == XDP_PASS
    # And again noted, for as long, when another first one comes.
    assert loaded.xdp(version.fragment(0, 7)) == XDP_DROP
    assert loaded.xdp(version.fragment(24, 7)) == XDP_DROP


@versions
@pytest.mark.parametrize("state", [BucketState.OWNED, BucketState.NONE])
def test_an_error_in_fragments_is_not_noted(
    loaded: Loaded, version: Four | Six, state: BucketState
) -> None:
    own(loaded, state)
    verdict = XDP_PASS if state is BucketState.OWNED else XDP_DROP
    assert loaded.xdp(version.error(7, quoted_place=0, more=True)) == verdict
    assert not loaded.noted()


@versions
def test_an_error_about_a_later_fragment_is_for_all(loaded: Loaded, version: Four | Six) -> None:
    world = own(loaded, BucketState.NONE)
    assert loaded.xdp(version.fragment(0, 7)) == XDP_DROP
    assert loaded.xdp(version.fragment(24, 7)) == XDP_DROP
    frame = version.error(7, quoted_place=3, more=False)
    assert loaded.xdp(frame) == XDP_PASS
    assert loaded.ingress(frame) == TC_ACT_UNSPEC
    counted = loaded.counted(world.rules).verdicts
    assert counted[0, Reason.ACCEPT_FRAGMENT] == 1
