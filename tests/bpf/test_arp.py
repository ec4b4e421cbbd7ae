"""ARP on its way out: whatever has a VIP as its sender carries the cluster MAC."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from clusterip.adapters.abi import Reason
from clusterip.core.state import InterfaceState
from tests.bpf.loaded import TC_ACT_UNSPEC, Loaded
from tests.bpf.reference import World, egress
from tests.bpf.worlds import ipv4, rule_sets

NIC = "02:00:00:00:00:07"
macs = st.binary(min_size=6, max_size=6)
addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


@st.composite
def frames(draw: st.DrawFn, rules: InterfaceState) -> bytes:
    """Draw ARP of all kinds, now and then with another layout, or cut, or not ARP at all."""
    vips = st.sampled_from([group.vip for group in rules.groups])
    layout = draw(st.sampled_from([b"\0\1\x08\0\6\4"] * 6 + [b"\0\6\x08\0\6\4", b"\0\1\x08\0\6\6"]))
    body = (
        layout
        + struct.pack(">H", draw(st.sampled_from([1, 2, 2, 3, 8])))
        + draw(macs)
        + draw(st.one_of(vips, vips, addresses)).packed
        + draw(macs)
        + draw(st.one_of(vips, addresses)).packed
        + bytes(draw(st.sampled_from([0, 18])))
    )
    ethertype = draw(st.sampled_from([b"\x08\x06"] * 9 + [b"\x80\x35"]))
    frame = draw(macs) + draw(macs) + ethertype + body
    return frame[: draw(st.integers(14, len(frame)))] if draw(st.integers(0, 9)) == 0 else frame


@settings(deadline=None, max_examples=1500)
@given(st.data())
def test_same_as_the_reference(loaded: Loaded, data: st.DataObject) -> None:
    rules = data.draw(rule_sets(ipv4))
    loaded.put(World(rules))
    wanted = 0
    for frame in data.draw(st.lists(frames(rules), max_size=10)):
        expected = egress(frame, rules)
        verdict, out = loaded.egress(frame)
        assert (verdict, out) == (TC_ACT_UNSPEC, expected), frame.hex()
        sender = IPv4Address(frame[28:32]) if len(frame) >= 42 else None
        is_arp = frame[12:20] == b"\x08\x06\0\1\x08\0\6\4"
        wanted += bool(is_arp and sender and rules.group(sender))
    assert loaded.plane.count(0).packets[Reason.ARP_REWRITTEN] == wanted


@settings(deadline=None, max_examples=50)
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
