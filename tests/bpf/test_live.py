"""The hooks on a real interface: what BPF_PROG_TEST_RUN cannot make, tags and frames in parts.

What becomes of a frame is seen behind our filter, by nftables, or at the other end of the wire.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from clusterip.adapters import libbpf
from clusterip.adapters.abi import BucketState, Reason
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Rule, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import chain as chains
from lab.wait import eventually
from tests.bpf.frames import plain_frame
from tests.bpf.loaded import XDP_DROP, Loaded
from tests.bpf.reference import World
from tests.namespaces import ip, own_namespace, run, send

CLIENT = IPv4Address("10.9.0.2")
VIP, VIP6 = IPv4Address("10.9.0.100"), IPv6Address("2001:db8::100")
CLUSTER_MAC = Mac("01005e000020")
SHARING = Sharing(HashMode.SOURCEIP, CLUSTER_MAC, 1)
RULES = chains.append(
    chains.append(Chain(), Rule(VIP, "eth0", sharing=SHARING), 7),
    Rule(VIP6, "eth0", sharing=SHARING),
    7,
).interfaces[0]
NIC, OTHER = "02:00:00:00:00:07", "02:00:00:00:00:09"
TAG = b"\x81\x00\x00\x05"
# With VLAN id 0: a priority and no VLAN, in the tags of 802.1Q and 802.1ad.
PRIORITIES = [
    b"\x81\x00\x00\x00",
    b"\x81\x00\xf0\x00",
    b"\x88\xa8\x00\x00",
    b"\x88\xa8\x60\x00\x81\x00\xa0\x00",
    b"\x81\x00\x00\x00" * 2,
]
EXPERIMENT = 253  # an IP protocol that nobody answers
_SOL_PACKET, _PACKET_TX_RING = 263, 13
_HEADER = 32  # of a frame in the ring: struct tpacket_hdr, aligned
_SEND_REQUEST = 1


@pytest.fixture
def attached(loaded: Loaded) -> Iterator[Loaded]:
    """The programs in tc at eth0, whose other end is wire; owning nothing."""
    with own_namespace(f"link set eth0 address {NIC}"):
        index = socket.if_nametoindex("eth0")
        libbpf.tc_hook_create(index)
        ingress, egress, _ = loaded.programs
        for point, one in ((libbpf.TC_INGRESS, ingress), (libbpf.TC_EGRESS, egress)):
            libbpf.tc_attach(index, point, one.fd, handle=1, priority=1)
        loaded.put(World(RULES))
        yield loaded


def counted(loaded: Loaded, slot: int = 1) -> dict[Reason, int]:
    """Return what was counted, other than zeros."""
    return {reason: number for reason, number in loaded.maps.count(slot).packets.items() if number}


def become(loaded: Loaded, expected: dict[Reason, int], slot: int = 1) -> None:
    """Wait until so much is counted. What was sent before the last of it has been looked at."""
    eventually(lambda: sum(counted(loaded, slot).values()) >= sum(expected.values()))
    assert counted(loaded, slot) == expected


@contextlib.contextmanager
def heard(interface: str, count: int) -> Iterator[list[bytes]]:
    """Yield a list that holds in the end the first frames that came in, without tags."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as one:
        one.bind((interface, 3))
        one.settimeout(5.0)
        found: list[bytes] = []
        yield found
        while len(found) < count:
            frame, address = one.recvfrom(2048)
            if address[2] != socket.PACKET_OUTGOING:
                found.append(frame)


@contextlib.contextmanager
def raw(interface: str) -> Iterator[socket.socket]:
    """Yield a socket that sends frames as they are from an interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind((interface, 0))
        yield one


def send_in_parts(interface: str, frame: bytes) -> None:
    """Send a frame of which only the Ethernet header is in the linear part (packet_mmap.rst)."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        ring = struct.pack("IIII", mmap.PAGESIZE, 1, mmap.PAGESIZE, 1)
        one.setsockopt(_SOL_PACKET, _PACKET_TX_RING, ring)
        one.bind((interface, 0))
        with mmap.mmap(one.fileno(), mmap.PAGESIZE) as memory:
            memory[_HEADER : _HEADER + len(frame)] = frame
            memory[8:12] = struct.pack("I", len(frame))
            memory[0 : ctypes.sizeof(ctypes.c_ulong)] = struct.pack("L", _SEND_REQUEST)
            one.send(b"")


def to_vip(mac: str, vip: IPv4Address = VIP, protocol: int = EXPERIMENT, more: int = 0) -> bytes:
    frame = plain_frame("10.9.0.2", 1, vip, 2, protocol)
    return bytes.fromhex(mac.replace(":", "")) + frame[6:] + bytes(more)


@pytest.mark.parametrize("more", [0, 1000])
def test_headers_outside_the_linear_part(attached: Loaded, more: int) -> None:
    send_in_parts("wire", to_vip(str(CLUSTER_MAC), protocol=17, more=more))
    become(attached, {Reason.DROP_NOT_OWNED: 1})


def test_a_tagged_frame_is_a_vlans(attached: Loaded) -> None:
    frame = to_vip(str(CLUSTER_MAC))
    send(frame[:12] + TAG + frame[12:])
    send(frame)
    become(attached, {Reason.DROP_NOT_OWNED: 1})


@pytest.mark.parametrize("tags", PRIORITIES, ids=bytes.hex)
def test_a_frame_of_vlan_0_is_no_vlans(attached: Loaded, tags: bytes) -> None:
    """The stack takes off the first tag before tc; the second one is in the frame."""
    frame = to_vip(str(CLUSTER_MAC))
    attached.put(World(RULES, {0: [BucketState.OWNED]}))
    count_kinds()
    send(frame[:12] + tags + frame[12:])
    become(attached, {Reason.ACCEPT_OWNED: 1})
    assert kinds() == {"host": 1}
    attached.maps.set_deadline(0, 0)
    send(frame[:12] + tags + frame[12:])
    become(attached, {Reason.ACCEPT_OWNED: 1, Reason.DROP_EXPIRED: 1})
    assert kinds() == {"host": 1}


@pytest.mark.parametrize("tags", [PRIORITIES[0] + TAG, TAG + PRIORITIES[0]], ids=bytes.hex)
def test_a_vlans_frame_with_a_priority_is_the_vlans(attached: Loaded, tags: bytes) -> None:
    frame = to_vip(str(CLUSTER_MAC))
    send(frame[:12] + tags + frame[12:])
    send(frame)
    become(attached, {Reason.DROP_NOT_OWNED: 1})


def test_more_tags_than_anybody_sends(attached: Loaded) -> None:
    """The stack would look behind all of them."""
    frame = to_vip(str(CLUSTER_MAC))
    attached.put(World(RULES, {0: [BucketState.OWNED]}))
    send(frame[:12] + PRIORITIES[0] * 4 + frame[12:])
    become(attached, {Reason.DROP_MALFORMED: 1}, 0)
    assert counted(attached) == {}


def count_kinds() -> None:
    """Have nftables count what comes through our filter, by packet type."""
    run(
        "nft",
        "add table netdev seen;"
        "add chain netdev seen here { type filter hook ingress device eth0 priority 0; };"
        + "".join(
            f"add rule netdev seen here meta pkttype {kind} counter;"
            for kind in ("host", "broadcast", "multicast", "other")
        ),
    )


def kinds() -> dict[str, int]:
    """Return how many frames of each packet type nftables saw behind our filter."""
    rules = json.loads(run("nft", "-j", "list", "chain", "netdev", "seen", "here"))["nftables"]
    found = {}
    for rule in (one["rule"]["expr"] for one in rules if "rule" in one):
        number = rule[1]["counter"]["packets"]
        if number:
            found[rule[0]["match"]["right"]] = number
    return found


def test_what_is_accepted_is_for_this_host(attached: Loaded) -> None:
    attached.put(World(RULES, {0: [BucketState.OWNED]}))
    count_kinds()
    for mac in (CLUSTER_MAC, "ff:ff:ff:ff:ff:ff", NIC):
        send(to_vip(str(mac)))
    become(attached, {Reason.ACCEPT_OWNED: 3})
    assert kinds() == {"host": 3}
    # Another host's own, and what is sent to nobody of ours, stay what they are.
    stranger = IPv4Address("10.9.0.77")
    send(to_vip(str(CLUSTER_MAC), stranger))
    send(to_vip(OTHER))
    become(attached, {Reason.ACCEPT_OWNED: 4})
    assert kinds() == {"host": 3, "other": 1, "multicast": 1}


@pytest.mark.parametrize("protocol", [6, 17])
def test_what_is_for_others_stays_as_it_is(attached: Loaded, protocol: int) -> None:
    """On the plain path, and where it is listened to."""
    count_kinds()
    frame = plain_frame("10.9.0.2", 1, IPv4Address("10.9.0.99"), 2, protocol) + bytes(12)
    send(bytes(CLUSTER_MAC) + frame[6:])
    eventually(lambda: kinds() == {"multicast": 1}, what="the frame")


def arp() -> bytes:
    """Return an answer that tells a host's own MAC."""
    answer = ARP(op="is-at", hwsrc=NIC, psrc=str(VIP), hwdst=OTHER, pdst="10.9.0.2")
    return bytes(Ether(src=NIC, dst="ff:ff:ff:ff:ff:ff") / answer)


def advertisement(following: int = 58) -> bytes:
    """Return the same for IPv6, or another message that looks like it."""
    message = IPv6(src=str(VIP6), dst="2001:db8::1") / ICMPv6ND_NA(tgt=str(VIP6), S=1, O=1)
    frame = bytes(Ether(src=NIC, dst=OTHER) / message / ICMPv6NDOptDstLLAddr(lladdr=NIC))
    return frame[:20] + bytes((following,)) + frame[21:]


def tells(frame: bytes) -> bool:
    """Whether a frame tells the cluster MAC behind its Ethernet header."""
    return bytes(CLUSTER_MAC) in frame[14:]


def test_leaving_in_parts(attached: Loaded) -> None:
    with heard("wire", 3) as frames:
        send_in_parts("eth0", arp())
        send_in_parts("eth0", advertisement())
        send_in_parts("eth0", advertisement(following=17))
    assert [tells(frame) for frame in frames] == [True, True, False]
    assert frames[2] == advertisement(following=17)
    become(attached, {Reason.ARP_REWRITTEN: 2}, 0)


def test_what_is_only_called_arp_is_left_alone(attached: Loaded) -> None:
    frame = arp()[:12] + b"\x88\xb5" + arp()[14:]
    with heard("wire", 1) as frames, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind(("eth0", 0x0806))
        one.send(frame)
    assert frames == [frame]
    assert counted(attached, 0) == {}


def bridged() -> None:
    """Put eth0 into a bridge, which takes the tag off a frame and adds it behind our filter.

    Whatever is sent from `far` leaves eth0.
    """
    ip("link add bridge type bridge mcast_snooping 0")
    ip("link add near type veth peer name far")
    for name in ("eth0", "near"):
        ip(f"link set {name} master bridge")
    for name in ("bridge", "near", "far"):
        ip(f"link set {name} up")
    eventually(lambda: run("bridge", "link").count("state forwarding") == 2)


def test_a_vlans_syn_ack_is_left_alone(attached: Loaded) -> None:
    bridged()
    answer = b"\xff" * 6 + plain_frame(str(VIP), 80, CLIENT, 1234, flags=0x12)[6:]
    with heard("wire", 2) as frames, raw("far") as one:
        for tags in (TAG, *PRIORITIES, TAG):
            one.send(answer[:12] + tags + answer[12:])
    assert frames == [answer, answer]
    become(attached, {Reason.DROP_NOT_OWNED: len(PRIORITIES)}, 0)


def test_a_vlans_arp_is_left_alone(attached: Loaded) -> None:
    bridged()
    sent = [(b"", True), (TAG, False), *((tags, True) for tags in PRIORITIES)]
    with heard("wire", len(sent)) as frames, raw("far") as one:
        for tags, _ in sent:
            one.send(arp()[:12] + tags + arp()[12:])
    assert [bytes(CLUSTER_MAC) in frame for frame in frames] == [ours for _, ours in sent], frames
    become(attached, {Reason.ARP_REWRITTEN: 1 + len(PRIORITIES)}, 0)


@pytest.mark.parametrize("tags", [b"", *PRIORITIES], ids=bytes.hex)
def test_leaving_with_tags_in_the_frame(attached: Loaded, tags: bytes) -> None:
    with heard("wire", 3) as frames, raw("eth0") as one:
        for frame in (arp(), advertisement(), arp()[:12] + TAG + arp()[12:]):
            one.send(frame[:12] + tags + frame[12:])
    assert [bytes(CLUSTER_MAC) in frame for frame in frames] == [True, True, False]
    told = IPv6(frames[1][frames[1].index(b"\x86\xdd") + 2 :])
    whole = IPv6(advertisement()[14:])
    del whole[ICMPv6ND_NA].cksum
    whole[ICMPv6NDOptDstLLAddr].lladdr = str(CLUSTER_MAC)
    assert bytes(told) == bytes(whole)
    become(attached, {Reason.ARP_REWRITTEN: 2}, 0)


def test_xdp_counts_all_bytes_of_a_frame_in_parts(loaded: Loaded) -> None:
    loaded.put(World(RULES))
    frame = to_vip(str(CLUSTER_MAC), more=5000)
    assert loaded.xdp(frame) == XDP_DROP
    assert loaded.maps.count(1).bytes == len(frame)


@pytest.fixture
def guarded(loaded: Loaded) -> Iterator[Loaded]:
    """The guards in tc at eth0, as another interface than the one that is shared."""
    with own_namespace(f"link set eth0 address {NIC}"):
        index = socket.if_nametoindex("eth0")
        libbpf.tc_hook_create(index)
        for point, one in (
            (libbpf.TC_INGRESS, loaded.guard_ingress),
            (libbpf.TC_EGRESS, loaded.guard_egress),
        ):
            libbpf.tc_attach(index, point, one.fd, handle=1, priority=1)
        loaded.put(World(RULES))
        yield loaded


@pytest.mark.parametrize("tags", [b"", *PRIORITIES])
@pytest.mark.parametrize("mac", [str(CLUSTER_MAC), "ff:ff:ff:ff:ff:ff"])
def test_a_guard_leaves_what_is_for_this_host_alone(guarded: Loaded, mac: str, tags: bytes) -> None:
    count_kinds()
    for to in (NIC, mac):
        frame = to_vip(to)
        send(frame[:12] + tags + frame[12:])
    frame = to_vip(mac)
    send(frame[:12] + TAG + frame[12:])  # a VLAN's
    send(to_vip(mac))
    become(guarded, {Reason.DROP_ELSEWHERE: 2}, 0)
    assert kinds()["host"] == 1


@pytest.mark.parametrize("tags", [b"", *PRIORITIES])
def test_a_guard_lets_nobody_tell_another_mac(guarded: Loaded, tags: bytes) -> None:
    told = arp()
    advertisement = bytes(
        Ether(src=NIC, dst=OTHER)
        / IPv6(src=str(VIP6), dst="2001:db8::1")
        / ICMPv6ND_NA(tgt=str(VIP6))
        / ICMPv6NDOptDstLLAddr(lladdr=NIC)
    )
    with raw("eth0") as one:
        for frame in (told, advertisement):
            # So the kernel tells that a filter discarded it.
            with pytest.raises(OSError, match="No buffer space"):
                one.send(frame[:12] + tags + frame[12:])
    become(guarded, {Reason.DROP_ARP_ELSEWHERE: 2}, 0)


@pytest.mark.parametrize("tags", [b"", *PRIORITIES])
def test_a_guard_lets_a_vip_ask_as_nobody(guarded: Loaded, tags: bytes) -> None:
    asked = ARP(op="who-has", hwsrc=NIC, psrc=str(VIP), pdst="10.9.0.2")
    frame = bytes(Ether(src=NIC, dst="ff:ff:ff:ff:ff:ff") / asked)
    with heard("wire", 2) as frames, raw("eth0") as one:
        one.send(frame[:12] + tags + frame[12:])
        send_in_parts("eth0", frame)
    probe = frame[:28] + bytes(4) + frame[32:]
    assert [each[12 - len(probe) :] for each in frames] == [probe[12:]] * 2
    assert counted(guarded, 0) == {}
