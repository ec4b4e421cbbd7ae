"""ARP on its way out: whatever has a VIP as its sender carries the cluster MAC."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from clusterip.adapters.abi import NO_DEADLINE, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain, InterfaceState
from clusterip.core.rules import chain as chains
from tests.bpf.frames import tagged
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, Loaded
from tests.bpf.reading import untagged
from tests.bpf.reference import World, egress
from tests.bpf.worlds import ipv4, rule_sets

VIP = "10.9.0.100"
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 1)
RULES = chains.append(Chain(), Rule(IPv4Address(VIP), "eth0", sharing=SHARING), 7).interfaces[0]
NIC = "02:00:00:00:00:07"
WORLDS, FRAMES = 40, 200
# Ethernet and IPv4, then each of the four things that say so told otherwise.
PLAIN = b"\0\1\x08\0\6\4"
ODD = (b"\0\6\x08\0\6\4", b"\0\1\x86\xdd\6\4", b"\0\1\x08\0\x08\4", b"\0\1\x08\0\6\6")


def frame_of(rules: InterfaceState, rnd: random.Random) -> bytes:
    """Return ARP of any kind, now and then with another layout, or cut, or not ARP at all."""
    vips = [group.vip.packed for group in rules.groups]
    body = (
        (PLAIN if rnd.random() < 0.7 else rnd.choice(ODD))
        + struct.pack(">H", rnd.choice((1, 2, 2, 3, 8)))
        + rnd.randbytes(6)
        + (rnd.choice(vips) if rnd.random() < 0.7 else rnd.randbytes(4))
        + rnd.randbytes(6)
        + (rnd.choice(vips) if rnd.random() < 0.5 else rnd.randbytes(4))
        + bytes(rnd.choice((0, 18)))
    )
    frame = rnd.randbytes(12) + (b"\x08\x06" if rnd.random() < 0.9 else b"\x80\x35") + body
    return frame[: rnd.randrange(14, len(frame))] if rnd.random() < 0.1 else frame


@settings(deadline=None, max_examples=WORLDS)
@given(rule_sets(ipv4), st.integers(0, 2**32))
def test_same_as_the_reference(loaded: Loaded, rules: InterfaceState, seed: int) -> None:
    loaded.put(World(rules))
    rnd = random.Random(seed)
    wanted = dropped = 0
    for frame in (frame_of(rules, rnd) for _ in range(FRAMES)):
        sent = tagged(frame, rnd) if rnd.random() < 0.3 else frame
        verdict, out = loaded.egress(sent)
        plain = untagged(sent)
        if plain is None:
            assert verdict == TC_ACT_SHOT, sent.hex()
            dropped += 1
            continue
        assert (verdict, out) == (TC_ACT_UNSPEC, egress(sent, rules)), sent.hex()
        is_arp = len(plain) >= 42 and plain[12:20] == b"\x08\x06" + PLAIN
        wanted += bool(is_arp and rules.group(IPv4Address(plain[28:32])))
    count = loaded.maps.count(0).packets
    assert (count[Reason.ARP_REWRITTEN], count[Reason.DROP_ARP]) == (wanted, dropped)


@settings(deadline=None, max_examples=20)
@given(rule_sets(ipv4), st.sampled_from(["is-at", "who-has"]))
def test_only_the_payload_changes(loaded: Loaded, rules: InterfaceState, operation: str) -> None:
    loaded.put(World(rules))
    for group in rules.groups:
        vip = str(group.vip)
        # The last is gratuitous: sender and target are the VIP.
        for target in ("10.9.1.1", vip):
            arp = ARP(op=operation, hwsrc=NIC, psrc=vip, hwdst="02:00:00:00:00:09", pdst=target)
            _, out = loaded.egress(bytes(Ether(src=NIC, dst="ff:ff:ff:ff:ff:ff") / arp))
            sent = Ether(out)
            assert sent.src == NIC
            assert sent[ARP].hwsrc == str(group.sharing.mac).lower()
            assert (sent[ARP].psrc, sent[ARP].pdst) == (vip, target)
            assert sent[ARP].hwdst == "02:00:00:00:00:09"


@pytest.mark.parametrize(
    ("deadline", "told"), [(0, False), (1, False), (NO_DEADLINE - 1, True), (NO_DEADLINE, True)]
)
@pytest.mark.parametrize("operation", ["is-at", "who-has"])
def test_without_a_lease_no_mac_is_told(
    loaded: Loaded, operation: str, deadline: int, *, told: bool
) -> None:
    loaded.put(World(RULES, deadlines={0: deadline}))
    arp = ARP(op=operation, hwsrc=NIC, psrc=VIP, pdst="10.9.1.1")
    frame = bytes(Ether(src=NIC, dst="ff:ff:ff:ff:ff:ff") / arp)
    wanted = (TC_ACT_UNSPEC, egress(frame, RULES)) if told else (TC_ACT_SHOT, frame)
    assert loaded.egress(frame) == wanted
    count = loaded.maps.count(0).packets
    assert (count[Reason.ARP_REWRITTEN], count[Reason.DROP_EXPIRED]) == (told, not told)
    own = bytes(Ether(src=NIC) / ARP(op=operation, hwsrc=NIC, psrc="10.9.1.2", pdst=VIP))
    assert loaded.egress(own) == (TC_ACT_UNSPEC, own)
