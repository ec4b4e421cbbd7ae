"""Neighbour discovery on its way out: what tells a VIP's MAC tells the cluster MAC."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from clusterip.adapters.abi import NO_DEADLINE, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.frames import tagged
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, Loaded
from tests.bpf.reading import untagged
from tests.bpf.reference import World, egress
from tests.bpf.worlds import ipv6, rule_sets

NIC = "02:00:00:00:00:07"
MAC = bytes.fromhex(NIC.replace(":", ""))
ETHERNET = b"\x33\x33\xff\0\0\x01" + MAC + b"\x86\xdd"
CLIENT = "2001:db8::1"


WORLDS, FRAMES = 40, 250


def option(rnd: random.Random) -> bytes:
    """Return an option: the MAC of source or target as a rule, sometimes of a wrong length."""
    kind = rnd.choice((1, 1, 2, 2, 2, 14, 5))
    length = rnd.choice((1, 1, 1, 1, 1, 1, 2, 0, 30))
    return bytes((kind, length)) + rnd.randbytes(rnd.choice((6, 6, 6, 6, length * 8 - 2 & 0xFF)))


def frame_of(rules: InterfaceState, rnd: random.Random) -> bytes:
    """Return a solicitation or an advertisement, now and then cut, or another message."""

    def address() -> bytes:
        return rnd.choice(rules.groups).vip.packed if rnd.random() < 0.5 else rnd.randbytes(16)

    body = bytes((rnd.choice((135, 136) * 5 + (133, 134, 137, 128)), 0)) + rnd.randbytes(6)
    body += address() + b"".join(option(rnd) for _ in range(rnd.choice((0, 1, 1, 2, 3, 5, 10))))
    length = max(0, len(body) + rnd.choice((0,) * 8 + (-1, 8)))
    header = struct.pack(">IHBB", 6 << 28, length, 58 if rnd.random() < 0.9 else 0, 255)
    frame = ETHERNET + header + address() + address() + body
    # BPF_PROG_TEST_RUN takes no IPv6 frame without its whole header.
    return frame[: rnd.randrange(54, len(frame) + 1)] if rnd.random() < 0.1 else frame


@settings(deadline=None, max_examples=WORLDS)
@given(rule_sets(ipv6), st.integers(0, 2**32))
def test_same_as_the_reference(loaded: Loaded, rules: InterfaceState, seed: int) -> None:
    loaded.put(World(rules))
    rnd = random.Random(seed)
    rewritten = dropped = 0
    for made in (frame_of(rules, rnd) for _ in range(FRAMES)):
        frame = tagged(made, rnd) if rnd.random() < 0.3 else made
        expected = egress(frame, rules)
        verdict, out = loaded.egress(frame)
        if expected is None:
            assert verdict == TC_ACT_SHOT, frame.hex()
            dropped += 1
            continue
        assert (verdict, out) == (TC_ACT_UNSPEC, expected), frame.hex()
        rewritten += tells(untagged(frame) or b"", rules)
    count = loaded.maps.count(0).packets
    assert (count[Reason.ARP_REWRITTEN], count[Reason.DROP_ARP]) == (rewritten, dropped)


@pytest.mark.parametrize(("before", "verdict"), [(7, TC_ACT_UNSPEC), (8, TC_ACT_SHOT)])
def test_the_mac_is_looked_for_in_eight_options(loaded: Loaded, before: int, verdict: int) -> None:
    vip = IPv6Address("2001:db8::100")
    sharing = Sharing(HashMode.SOURCEIP, Mac("333300000020"), 1)
    rules = chains.append(Chain(), Rule(vip, "eth0", sharing=sharing), 7).interfaces[0]
    loaded.put(World(rules))
    nonce = bytes((14, 1)) + bytes(6)
    body = bytes((136, 0)) + bytes(6) + vip.packed + nonce * before
    body += bytes((2, 1)) + MAC
    header = struct.pack(">IHBB", 6 << 28, len(body), 58, 255) + vip.packed + vip.packed
    frame = ETHERNET + header + body
    expected = egress(frame, rules)
    assert loaded.egress(frame) == (verdict, expected or frame)
    assert (expected is None) == (verdict == TC_ACT_SHOT)


def tells(frame: bytes, rules: InterfaceState) -> bool:
    """Whether a frame tells a VIP's MAC, which is so if another cluster MAC changes it."""
    if (
        len(frame) < 78
        or frame[12:14] != b"\x86\xdd"
        or frame[20] != 58
        or frame[54] not in {135, 136}
    ):
        return False
    if rules.group(IPv6Address(frame[22:38] if frame[54] == 135 else frame[62:78])) is None:
        return False
    at = 78
    while at < len(frame) and frame[at] != frame[54] - 134:
        at += frame[at + 1] * 8
    return at < 54 + int.from_bytes(frame[18:20], "big")


@settings(deadline=None, max_examples=20)
@given(rule_sets(ipv6))
def test_only_the_option_and_the_checksum_change(loaded: Loaded, rules: InterfaceState) -> None:
    loaded.put(World(rules))
    for group in rules.groups:
        vip, mac = str(group.vip), str(group.sharing.mac).lower()
        link = Ether(src=NIC, dst="02:00:00:00:00:09")
        answer = link / IPv6(src=vip, dst=CLIENT) / ICMPv6ND_NA(tgt=vip, S=1, O=1)
        _, out = loaded.egress(bytes(answer / ICMPv6NDOptDstLLAddr(lladdr=NIC)))
        assert out == bytes(answer / ICMPv6NDOptDstLLAddr(lladdr=mac))
        question = link / IPv6(src=vip, dst=CLIENT) / ICMPv6ND_NS(tgt=CLIENT)
        _, out = loaded.egress(bytes(question / ICMPv6NDOptSrcLLAddr(lladdr=NIC)))
        assert out == bytes(question / ICMPv6NDOptSrcLLAddr(lladdr=mac))
        # Its own addresses a host tells as it is.
        other = link / IPv6(src=CLIENT, dst=vip) / ICMPv6ND_NS(tgt=vip)
        plain = bytes(other / ICMPv6NDOptSrcLLAddr(lladdr=NIC))
        assert loaded.egress(plain) == (TC_ACT_UNSPEC, plain)


@pytest.mark.parametrize("option", [True, False])
@pytest.mark.parametrize(
    ("deadline", "told"), [(0, False), (1, False), (NO_DEADLINE - 1, True), (NO_DEADLINE, True)]
)
def test_without_a_lease_no_mac_is_told(
    loaded: Loaded, deadline: int, *, told: bool, option: bool
) -> None:
    vip = IPv6Address("2001:db8::100")
    sharing = Sharing(HashMode.SOURCEIP, Mac("333300000020"), 1)
    rules = chains.append(Chain(), Rule(vip, "eth0", sharing=sharing), 7).interfaces[0]
    loaded.put(World(rules, deadlines={0: deadline}))
    link = Ether(src=NIC, dst="02:00:00:00:00:09") / IPv6(src=str(vip), dst=CLIENT)
    answer, question = link / ICMPv6ND_NA(tgt=str(vip)), link / ICMPv6ND_NS(tgt=CLIENT)
    if option:
        answer /= ICMPv6NDOptDstLLAddr(lladdr=NIC)
        question /= ICMPv6NDOptSrcLLAddr(lladdr=NIC)
    for frame in map(bytes, (answer, question)):
        wanted = (TC_ACT_UNSPEC, egress(frame, rules)) if told else (TC_ACT_SHOT, frame)
        assert loaded.egress(frame) == wanted
    assert loaded.maps.count(0).packets[Reason.DROP_EXPIRED] == 2 * (not told)
