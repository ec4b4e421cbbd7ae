"""Captured frames, taken apart as far as the lab needs: who asked, who answered.

Which host answered is read from the Ethernet source address: the sender cannot mistake that, and
it needs no cooperation of the server.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ICMP, TCP, UDP = 1, 6, 17
SYN, ACK = 0x02, 0x10
ECHO_REPLY, ECHO_REQUEST = 0, 8
_ETHERTYPE_IPV4, _ETHERTYPE_ARP = 0x0800, 0x0806
_ETHERTYPE_IPV6 = 0x86DD
_IPV6_END = 54  # of the IPv6 header in a frame
_ICMPV6, _ECHO_REQUEST6, _ECHO_REPLY6 = 58, 128, 129
_CLOCK: Final = 14 + 24
"""Where a message has its sender's clock, after the head (core/messages/wire.py)."""
_PCAP_HEADER, _PCAP_RECORD = 24, 16


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP frame. `operation` is 1 for a request, 2 for a reply."""

    to_mac: str
    from_mac: str
    operation: int
    sender_mac: str
    sender: str
    target_mac: str
    target: str


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet. An ICMP echo has its identifier and its sequence number as ports.

    ICMPv6 echoes are told as if they were ICMP's.

    `kind` is the TCP flags byte or the ICMP type, 0 for other protocols.
    """

    to_mac: str
    from_mac: str
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    kind: int


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """What a client asked: a TCP SYN, an ICMP echo request or a UDP datagram."""

    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int


def read(capture: Path) -> list[Arp | Packet]:
    """Read a file that tcpdump wrote, or is still writing; other frames are left out."""
    return [frame for _, raw in _records(capture.read_bytes()) for frame in _parse(raw)]


def requests(frames: Iterable[Arp | Packet]) -> set[Request]:
    """Return all that was asked."""
    return {_request(frame) for frame in frames if isinstance(frame, Packet) and _asks(frame)}


def answers(frames: Iterable[Arp | Packet]) -> dict[Request, list[str]]:
    """Return for each request the MAC addresses its answers came from, one for each answer.

    A SYN-ACK answers a SYN. To a UDP datagram, any datagram the other way is an answer.
    """
    packets = [frame for frame in frames if isinstance(frame, Packet)]
    found: dict[Request, list[str]] = {request: [] for request in sorted(requests(packets))}
    for packet in packets:
        asked = _answered(packet)
        if asked in found:
            found[asked].append(packet.from_mac)
    return found


@dataclass(frozen=True, slots=True, order=True)
class TwoAnswers:
    """A SYN that several hosts answered, by the MAC addresses the SYN-ACKs came from."""

    source: str
    source_port: int
    isn: int
    macs: tuple[str, ...]
    at: float = 0.0
    """When the last of these hosts answered first, in seconds since the epoch."""


def two_answers(capture: Path, vip: str) -> list[TwoAnswers]:
    """Return the SYNs to the VIP that SYN-ACKs from different hosts came to.

    A SYN is known by its initial sequence number, which a SYN-ACK acknowledges: one that is sent
    again has the same, a new connection from the same port another one. This is for captures of
    hundreds of thousands of packets, so nothing but these is taken apart.
    """
    sender = IPv4Address(vip).packed
    seen: dict[tuple[bytes, bytes, bytes], set[bytes]] = {}
    latest: dict[tuple[bytes, bytes, bytes], float] = {}
    for at_time, raw, at in _opening(capture, SYN | ACK):
        if raw[26:30] != sender:
            continue
        syn = (raw[30:34], raw[at + 2 : at + 4], raw[at + 8 : at + 12])
        macs = seen.setdefault(syn, set())
        if raw[6:12] not in macs:
            macs.add(raw[6:12])
            latest[syn] = at_time
    return sorted(
        TwoAnswers(
            str(IPv4Address(source)),
            int.from_bytes(port),
            (int.from_bytes(acknowledged) - 1) % (1 << 32),
            tuple(sorted(mac.hex(":") for mac in macs)),
            latest[source, port, acknowledged],
        )
        for (source, port, acknowledged), macs in seen.items()
        if len(macs) > 1
    )


def syn_times(capture: Path, vip: str) -> dict[tuple[str, int, int], float]:
    """Return when each SYN to the VIP was sent first, by source, source port and ISN."""
    receiver = IPv4Address(vip).packed
    sent: dict[tuple[str, int, int], float] = {}
    for at_time, raw, at in _opening(capture, SYN):
        if raw[30:34] == receiver:
            port, isn = int.from_bytes(raw[at : at + 2]), int.from_bytes(raw[at + 4 : at + 8])
            sent.setdefault((str(IPv4Address(raw[26:30])), port, isn), at_time)
    return sent


def clocks(capture: Path, port: int) -> Iterator[tuple[float, str, int]]:
    """Yield the messages of daemons: when each came by, its sender's MAC, and its clock in ns."""
    for at_time, raw in _records(capture.read_bytes()):
        at = 14 + (raw[14] & 0x0F) * 4
        message = at + 8
        if raw[12:14] != b"\x08\x00" or raw[23] != UDP or _is_later_fragment(raw):
            continue
        if raw[at + 2 : at + 4] == port.to_bytes(2) and len(raw) >= message + _CLOCK + 8:
            clock = raw[message + _CLOCK : message + _CLOCK + 8]
            yield at_time, raw[6:12].hex(":"), int.from_bytes(clock)


def _opening(capture: Path, kind: int) -> Iterator[tuple[float, bytes, int]]:
    """Yield time, frame and offset of the TCP header of what has just these of SYN and ACK."""
    for at_time, raw in _records(capture.read_bytes()):
        if raw[12:14] != b"\x08\x00" or raw[23] != TCP:
            continue
        at = 14 + (raw[14] & 0x0F) * 4
        if _is_later_fragment(raw) or len(raw) < at + 14:
            continue
        if raw[at + 13] & (SYN | ACK) == kind:
            yield at_time, raw, at


def _asks(packet: Packet) -> bool:
    if packet.protocol == TCP:
        return packet.kind & (SYN | ACK) == SYN
    return packet.protocol == UDP or (packet.protocol == ICMP and packet.kind == ECHO_REQUEST)


def _request(packet: Packet) -> Request:
    return Request(
        packet.protocol,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    )


def _answered(packet: Packet) -> Request | None:
    """Return the request that a packet answers, None if it answers none."""
    ends = (packet.destination, packet.destination_port, packet.source, packet.source_port)
    if packet.protocol == ICMP and packet.kind == ECHO_REPLY:
        # An echo reply repeats identifier and sequence number, it does not swap them.
        return Request(
            ICMP, packet.destination, packet.source_port, packet.source, packet.destination_port
        )
    if packet.protocol == TCP and packet.kind & (SYN | ACK) == SYN | ACK:
        return Request(TCP, *ends)
    return Request(UDP, *ends) if packet.protocol == UDP else None


def _records(pcap: bytes) -> Iterator[tuple[float, bytes]]:
    """Yield each frame with its time, in seconds since the epoch."""
    at = _PCAP_HEADER
    while at + _PCAP_RECORD <= len(pcap):
        seconds, micros, length = struct.unpack_from("<III", pcap, at)
        at += _PCAP_RECORD
        if at + length <= len(pcap):  # else the last one is still being written
            yield seconds + micros / 1e6, pcap[at : at + length]
        at += length


def _is_later_fragment(raw: bytes) -> bool:
    """Whether an IPv4 frame holds no header of its protocol, but what came after one."""
    return bool(struct.unpack_from(">H", raw, 20)[0] & 0x1FFF)


def _parse(raw: bytes) -> Iterator[Arp | Packet]:
    if len(raw) < 14:
        return
    to_mac, from_mac = raw[0:6].hex(":"), raw[6:12].hex(":")
    (ethertype,) = struct.unpack_from(">H", raw, 12)
    if ethertype == _ETHERTYPE_ARP and len(raw) >= 42:
        yield Arp(
            to_mac,
            from_mac,
            struct.unpack_from(">H", raw, 20)[0],
            raw[22:28].hex(":"),
            str(IPv4Address(raw[28:32])),
            raw[32:38].hex(":"),
            str(IPv4Address(raw[38:42])),
        )
    elif ethertype == _ETHERTYPE_IPV4 and len(raw) >= 34 and not _is_later_fragment(raw):
        ends = str(IPv4Address(raw[26:30])), str(IPv4Address(raw[30:34]))
        kind, ports = _transport(raw, 14 + (raw[14] & 0x0F) * 4, raw[23])
        yield Packet(to_mac, from_mac, raw[23], ends[0], ports[0], ends[1], ports[1], kind)
    elif ethertype == _ETHERTYPE_IPV6 and len(raw) >= _IPV6_END:
        ends = str(IPv6Address(raw[22:38])), str(IPv6Address(raw[38:54]))
        protocol = ICMP if raw[20] == _ICMPV6 else raw[20]
        kind, ports = _transport(raw, _IPV6_END, protocol)
        if protocol == ICMP:
            kind = {_ECHO_REQUEST6: ECHO_REQUEST, _ECHO_REPLY6: ECHO_REPLY}.get(kind, 255)
        yield Packet(to_mac, from_mac, protocol, ends[0], ports[0], ends[1], ports[1], kind)


def _transport(raw: bytes, at: int, protocol: int) -> tuple[int, tuple[int, int]]:
    """Return kind and ports of a packet whose transport header begins at `at`."""
    if len(raw) < at + 8:
        return 0, (0, 0)
    if protocol == ICMP:
        return raw[at], struct.unpack_from(">HH", raw, at + 4)
    if protocol in (TCP, UDP):
        flags = raw[at + 13] if protocol == TCP and len(raw) >= at + 14 else 0
        return flags, struct.unpack_from(">HH", raw, at)
    return 0, (0, 0)
