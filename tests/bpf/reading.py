"""What the reference reads of a packet, in plain Python, written without the C at hand."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from clusterip.core.address import Address

ICMP, TCP, ICMPV6 = 1, 6, 58
ICMP_ERRORS = {3, 4, 5, 11, 12}
ICMPV6_ERRORS = {1, 2, 3, 4}
NEIGHBOUR_MESSAGES = {130, 131, 132, 133, 134, 135, 136, 137, 143}
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
MOST_EXTENSIONS, LONGEST_HEADERS = 6, 256
PORTS_AT = {6: 0, 17: 0, 136: 0, 132: 0, 33: 0, 50: 0, 51: 4}
TAGS = {b"\x81\x00", b"\x88\xa8"}  # 802.1Q and 802.1ad
MOST_TAGS = 2


def untagged(frame: bytes) -> bytes | None:
    """Return a frame without its tags with VLAN id 0, None where these are too many."""
    for _ in range(MOST_TAGS + 1):
        if len(frame) < 16 or frame[12:14] not in TAGS or frame[14] & 15 or frame[15]:
            return frame
        frame = frame[:12] + frame[16:]
    return None


class Packet(NamedTuple):
    """What is read of a packet; `quoted` if it is one that an ICMP error is about, turned round.

    `whole` is what its fragments have in common, as struct ci_fragment_key has it; `acknowledges`
    the sequence numbers, its own and the other side's, of TCP with ACK, and neither SYN nor RST.
    """

    source: Address
    protocol: int
    sport: int = 0
    dport: int = 0
    later_fragment: bool = False
    syn: bool = False
    fin: bool = False
    quoted: bool = False
    whole: bytes = b""
    first: bool = False
    for_neighbours: bool = False
    acknowledges: tuple[int, int] | None = None


def read_ip(packet: bytes) -> Packet | None:
    """Return what is in an IPv4 packet, perhaps with Ethernet padding; None if malformed."""
    version, header = packet[0] >> 4, (packet[0] & 15) * 4
    (total,) = struct.unpack(">H", packet[2:4])
    if version != 4 or header < 20 or len(packet) < header:
        return None
    if total:
        if total < header:
            return None
        packet = packet[:total]
    source, protocol = IPv4Address(packet[12:16]), packet[9]
    # Source, destination, id, protocol: RFC 791 on reassembly.
    whole = (
        packet[12:16].ljust(16, b"\0")
        + packet[16:20].ljust(16, b"\0")
        + packet[4:6].ljust(4, b"\0")
        + bytes((protocol, 4, 0, 0))
    )
    place = struct.unpack(">H", packet[6:8])[0] & 0x3FFF
    if place & 0x1FFF:
        return Packet(source, protocol, later_fragment=True, whole=whole)
    transport = packet[header:]
    if protocol == ICMP and len(transport) >= 8 and transport[0] in ICMP_ERRORS:
        read = read_quoted(source, packet[16:20], transport[8:])
    else:
        read = read_transport(source, protocol, transport)
    return read and read._replace(whole=whole, first=place == 0x2000)


def read_transport(source: Address, protocol: int, transport: bytes) -> Packet | None:
    """Return what is in a packet that holds this."""
    if protocol not in PORTS_AT:
        return Packet(source, protocol)
    at = PORTS_AT[protocol]
    if len(transport) < (20 if protocol == TCP else at + 4):
        return None
    sport, dport = struct.unpack(">HH", transport[at : at + 4])
    syn = protocol == TCP and transport[13] & 0x12 == 0x02
    fin = protocol == TCP and transport[13] & 0x05 == 0x01
    acknowledges = None
    if protocol == TCP and transport[13] & 0x16 == 0x10:
        acknowledges = struct.unpack(">II", transport[4:12])
    return Packet(source, protocol, sport, dport, syn=syn, fin=fin, acknowledges=acknowledges)


class Headers(NamedTuple):
    """Where the headers of an IPv6 packet end, and the last fragment header among them."""

    end: int
    protocol: int
    fragment: bytes = bytes(8)

    @property
    def place(self) -> int:
        """Offset and flags."""
        return int.from_bytes(self.fragment[2:4], "big")


def read_headers(packet: bytes, most: int) -> Headers | None:
    """Step over extension headers, of a packet that may have `most` bytes."""
    headers = Headers(40, packet[6])
    for _ in range(MOST_EXTENSIONS + 1):
        at = headers.end
        if headers.protocol not in {HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION}:
            return headers if at <= most else None
        if len(packet) < at + 8:
            return None
        if headers.protocol == FRAGMENT:
            headers = headers._replace(fragment=packet[at : at + 8])
            if headers.place & 0xFFF8:
                return headers
            length = 8
        else:
            length = (packet[at + 1] + 1) * 8
        if at + length > LONGEST_HEADERS:
            return None
        headers = headers._replace(end=at + length, protocol=packet[at])
    return None


def read_ip6(packet: bytes) -> Packet | None:
    """Return what is in an IPv6 packet, perhaps with Ethernet padding; None if malformed."""
    (payload,) = struct.unpack(">H", packet[4:6])
    if packet[0] >> 4 != 6:
        return None
    most = 40 + payload if payload else 0xFFFF
    packet = packet[:most]
    headers = read_headers(packet, most)
    if headers is None:
        return None
    source: Address = IPv6Address(packet[8:24])
    whole = packet[8:40] + headers.fragment[4:] + bytes((0, 6, 0, 0))
    if headers.place & 0xFFF8:
        return Packet(source, FRAGMENT, later_fragment=True, whole=whole)
    transport = packet[headers.end :]
    read = read_transport(source, headers.protocol, transport)
    if headers.protocol == ICMPV6 and len(transport) >= 8:
        if transport[0] in NEIGHBOUR_MESSAGES:
            return Packet(source, ICMPV6, for_neighbours=True)
        if transport[0] in ICMPV6_ERRORS:
            read = read_quoted6(source, packet[24:40], transport[8:])
    return read and read._replace(whole=whole, first=bool(headers.place & 1))


def read_quoted6(sender: Address, vip: bytes, inner: bytes) -> Packet | None:
    """Return the packet that an ICMPv6 error quotes, as if the client had sent it."""
    if len(inner) < 40 or inner[0] >> 4 != 6:
        return None
    if inner[8:24] != vip:
        return Packet(sender, ICMPV6)
    headers = read_headers(inner, len(inner))
    if headers is None or len(inner) < headers.end + 8:
        return None
    return quoted(
        IPv6Address(inner[24:40]),
        headers.protocol,
        inner[headers.end :],
        later=bool(headers.place & 0xFFF8),
    )


def quoted(client: Address, protocol: int, transport: bytes, *, later: bool) -> Packet:
    """Return the packet with this transport header, turned round."""
    if later or protocol not in PORTS_AT:
        return Packet(client, protocol, later_fragment=later, quoted=True)
    at = PORTS_AT[protocol]
    ours, theirs = struct.unpack(">HH", transport[at : at + 4])
    return Packet(client, protocol, theirs, ours, quoted=True)


def read_quoted(sender: IPv4Address, vip: bytes, inner: bytes) -> Packet | None:
    """Return the packet that an ICMP error quotes, as if the client had sent it."""
    if len(inner) < 20:
        return None
    header = (inner[0] & 15) * 4
    if inner[0] >> 4 != 4 or header < 20 or len(inner) < header + 8:
        return None
    if inner[12:16] != vip:
        return Packet(sender, ICMP)
    later = bool(struct.unpack(">H", inner[6:8])[0] & 0x1FFF)
    return quoted(IPv4Address(inner[16:20]), inner[9], inner[header:], later=later)
