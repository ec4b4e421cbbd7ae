"""The guards of other interfaces: nothing there tells another MAC for a VIP, or answers for it."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from clusterip.adapters.abi import Reason
from clusterip.core.packets.state import InterfaceState
from tests.bpf import test_arp as arp
from tests.bpf import test_neighbour as neighbour
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, Loaded
from tests.bpf.reading import untagged
from tests.bpf.reference import World, egress
from tests.bpf.worlds import ipv4, ipv6, rule_sets

WORLDS, FRAMES = 40, 200
TAGS = (b"", b"", b"", b"\x81\x00\x20\x00", b"\x88\xa8\x00\x00" * 2, b"\x81\x00\x00\x05")
OWN = "00:00:00:00:00:00"  # of the interface that BPF_PROG_TEST_RUN uses
OTHER = "02:00:00:00:00:09"


def told(frame: bytes, rules: InterfaceState) -> bool:
    """Whether the shared interface would change the frame, or discard it."""
    return egress(frame, rules) != frame


def asked(frame: bytes, rules: InterfaceState) -> bytes | None:
    """Return what leaves of a request in a VIP's name for another's MAC; None for all else."""
    plain = untagged(frame)
    assert plain is not None
    if plain[20:22] != b"\0\1" or rules.group(IPv4Address(plain[38:42])):
        return None
    at = len(frame) - len(plain) + 28
    return frame[:at] + bytes(4) + frame[at + 4 :]


@settings(deadline=None, max_examples=WORLDS)
@given(rule_sets(ipv4), st.integers(0, 2**32))
def test_arp(loaded: Loaded, rules: InterfaceState, seed: int) -> None:
    compare(loaded, rules, [arp.frame_of(rules, random.Random(seed + n)) for n in range(FRAMES)])


@settings(deadline=None, max_examples=WORLDS)
@given(rule_sets(ipv6), st.integers(0, 2**32))
def test_neighbour_discovery(loaded: Loaded, rules: InterfaceState, seed: int) -> None:
    frames = [neighbour.frame_of(rules, random.Random(seed + n)) for n in range(FRAMES)]
    compare(loaded, rules, frames)


def compare(loaded: Loaded, rules: InterfaceState, frames: list[bytes]) -> None:
    """Each as it is, and as the shared interface would send it, which passes."""
    loaded.put(World(rules))
    dropped = 0
    for number, plain in enumerate(frames):
        frame = plain[:12] + TAGS[number % len(TAGS)] + plain[12:]
        left = frame
        if told(frame, rules):
            left = (plain[12:14] == b"\x08\x06" and asked(frame, rules)) or b""
        assert loaded.guard_egress.changed(frame) == (
            (TC_ACT_UNSPEC, left) if left else (TC_ACT_SHOT, frame)
        ), frame.hex()
        dropped += not left
        _, sent = loaded.egress(frame)
        if sent != frame:
            assert loaded.guard_egress.verdict(sent) == TC_ACT_UNSPEC, frame.hex()
    assert loaded.maps.count(0).packets[Reason.DROP_ARP_ELSEWHERE] == dropped


@settings(deadline=None, max_examples=20)
@given(st.one_of(rule_sets(ipv4), rule_sets(ipv6)))
def test_what_every_host_gets_is_answered_by_none_there(
    loaded: Loaded, rules: InterfaceState
) -> None:
    loaded.put(World(rules))
    dropped = 0
    for group in rules.groups:
        stranger = type(group.vip)(int(group.vip) ^ 1)
        for address, ours in ((group.vip, True), (stranger, rules.group(stranger) is not None)):
            for mac in (str(group.sharing.mac), "ff:ff:ff:ff:ff:ff", OWN, OTHER):
                shot = ours and mac not in {OWN, OTHER}
                verdict = loaded.guard_ingress.verdict(bytes(Ether(dst=mac) / packet(address)))
                assert verdict == (TC_ACT_SHOT if shot else TC_ACT_UNSPEC), (address, mac)
                dropped += shot
    assert loaded.maps.count(0).packets[Reason.DROP_ELSEWHERE] == dropped


def packet(address: IPv4Address | IPv6Address) -> IP | IPv6:
    layer = IP(dst=str(address)) if address.version == 4 else IPv6(dst=str(address))
    return layer / UDP(sport=1, dport=2) / bytes(8)


@settings(deadline=None, max_examples=20)
@given(st.one_of(rule_sets(ipv4), rule_sets(ipv6)))
def test_only_syns_to_a_vip_that_came_to_this_host_alone_are_noted(
    loaded: Loaded, rules: InterfaceState
) -> None:
    for group in rules.groups:
        stranger = type(group.vip)(int(group.vip) ^ 1)
        for address, flags, mac, noted in (
            (group.vip, "S", OWN, True),
            (group.vip, "SA", OWN, False),
            (group.vip, "A", OWN, False),
            (group.vip, "S", OTHER, False),
            (group.vip, "S", str(group.sharing.mac), False),
            (stranger, "S", OWN, rules.group(stranger) is not None),
        ):
            for tag in (b"", b"\x81\x00\x20\x00"):
                loaded.put(World(rules))
                layer = IP(dst=str(address)) if address.version == 4 else IPv6(dst=str(address))
                frame = bytes(Ether(dst=mac) / layer / TCP(sport=1, dport=2, flags=flags))
                loaded.guard_ingress.verdict(frame[:12] + tag + frame[12:])
                assert set(loaded.openings().values()) == ({"alone"} if noted else set())
                if noted:
                    ((_, sport, destination, dport),) = loaded.openings()
                    assert (sport, destination, dport) == (1, str(address), 2)


@settings(deadline=None, max_examples=20)
@given(rule_sets(ipv4))
def test_every_byte_of_a_mac_counts(loaded: Loaded, rules: InterfaceState) -> None:
    loaded.put(World(rules))
    for group in rules.groups:
        mac = bytes(group.sharing.mac)
        for at in range(6):
            other = mac[:at] + bytes((mac[at] ^ 1,)) + mac[at + 1 :]
            for told_mac, verdict in ((mac, TC_ACT_UNSPEC), (other, TC_ACT_SHOT)):
                answer = ARP(op="is-at", hwsrc=told_mac.hex(":"), psrc=str(group.vip))
                assert loaded.guard_egress.verdict(bytes(Ether(dst=OTHER) / answer)) == verdict
