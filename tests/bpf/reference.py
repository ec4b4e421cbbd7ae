"""The verdict as DESIGN has it, in plain Python: slow, obvious, and written without the C at hand.

It reads rules as they were written, one after the other, and knows nothing of tables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from clusterip import bucket
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.address import Address
from clusterip.core.hashing import jhash, wire_port
from clusterip.core.model import Ports, ServiceAction
from clusterip.core.state import Entry, Group, InterfaceState

ICMP, TCP, ICMPV6 = 1, 6, 58
ICMP_ERRORS = {3, 4, 5, 11, 12}
ICMPV6_ERRORS = {1, 2, 3, 4}
NEIGHBOUR_MESSAGES = {130, 131, 132, 133, 134, 135, 136, 137, 143}
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
MOST_EXTENSIONS, LONGEST_HEADERS = 6, 256
PORTS_AT = {6: 0, 17: 0, 136: 0, 132: 0, 33: 0, 50: 0, 51: 4}
RULE_PORTS = {6, 17, 136, 132, 33}

Socket = tuple[str, int, str, int]
"""Source and its port, destination and its port, of a packet that a socket here would get."""


@dataclass
class World:
    """What the verdict depends on besides the packet."""

    rules: InterfaceState
    buckets: Mapping[int, Sequence[BucketState]] = field(default_factory=dict)
    deadlines: Mapping[int, int] = field(default_factory=dict)
    sockets: frozenset[Socket] = frozenset()
    """All but listeners; those in TIME_WAIT as well."""
    now: Callable[[], int] = lambda: 0
    cells: dict[tuple[int, int], int] = field(default_factory=dict)
    """(Group, bucket from 0) -> mask of cells; watching adds to it."""
    openings: dict[Socket, str] = field(default_factory=dict)
    """Whose the connection between these ends is, by its newest SYN: "theirs" or "ours"."""
    time_waits: frozenset[Socket] = frozenset()
    firsts: dict[bytes, bool] = field(default_factory=dict)
    """Whether a first fragment was discarded, by what its packet's fragments have in common."""


@dataclass(frozen=True)
class Decision:
    """Reason None: untouched. `slot` is the counter of the rule, `place` (group, bucket from 0)."""

    reason: Reason | None
    slot: int = 0
    place: tuple[int, int] | None = None

    @property
    def drops(self) -> bool:
        return self.reason is not None and self.reason.name.startswith("DROP")


UNTOUCHED = Decision(None)


TAGS = {b"\x81\x00", b"\x88\xa8"}  # 802.1Q and 802.1ad
MOST_TAGS = 2


def untagged(frame: bytes) -> bytes | None:
    """Return a frame without its tags with VLAN id 0, None where these are too many."""
    for _ in range(MOST_TAGS + 1):
        if len(frame) < 18 or frame[12:14] not in TAGS or frame[14] & 15 or frame[15]:
            return frame
        frame = frame[:12] + frame[16:]
    return None


def decide(frame: bytes, world: World) -> Decision:
    """Return what an ingress hook does with a frame."""
    plain = untagged(frame)
    return Decision(Reason.DROP_MALFORMED) if plain is None else decide_untagged(plain, world)


def decide_untagged(frame: bytes, world: World) -> Decision:
    """Decide about a frame that has no tag, or a VLAN's."""
    packet: Packet | None
    vip: Address
    if len(frame) >= 34 and frame[12:14] == b"\x08\x00":
        vip, read = IPv4Address(frame[30:34]), read_ip
    elif len(frame) >= 54 and frame[12:14] == b"\x86\xdd":
        vip, read = IPv6Address(frame[38:54]), read_ip6
    else:
        return UNTOUCHED
    group = world.rules.group(vip)
    if group is None:
        return UNTOUCHED
    packet = read(frame[14:])
    if packet is None:
        return Decision(Reason.DROP_MALFORMED)
    if packet.for_neighbours:
        return UNTOUCHED
    if packet.later_fragment:
        dropped = not packet.quoted and world.firsts.get(packet.whole, False)
        reason = Reason.DROP_FRAGMENT if dropped else Reason.ACCEPT_FRAGMENT
        return in_time(Decision(reason), group, world)
    decision = decide_whole(packet, vip, group, world)
    if packet.first and not packet.quoted:
        world.firsts[packet.whole] = decision.drops
    return decision


def decide_whole(packet: Packet, vip: Address, group: Group, world: World) -> Decision:
    """Decide about a packet whose ports are known."""
    source, sport, dport = packet.source, packet.sport, packet.dport
    entry = rule_for(vip, source, packet.protocol, sport, dport, world.rules)
    if entry is None:
        return Decision(Reason.DROP_NO_RULE)
    sharing = group.sharing
    if entry.rule.action is ServiceAction.DROP:
        return Decision(Reason.DROP_SERVICE, entry.slot)
    mode = (entry.rule.sharing or sharing).mode.value
    number = entry.rule.bucket or bucket(
        mode,
        *(sharing.total, sharing.hash_init, str(source), sport, dport),
        source_prefix6=sharing.source_prefix6,
    )
    state = world.buckets.get(group.index, [BucketState.NONE] * 256)[number - 1]
    place = (group.index, number - 1)
    if packet.protocol == TCP:
        ends = (str(source), sport, str(vip), dport)
        here = not packet.syn and is_answered_here(packet, ends, state, world)
        reason = by_state(state, syn=packet.syn, here=here)
        decision = in_time(Decision(reason, entry.slot, place), group, world)
        if packet.syn:
            note_syn(ends, decision, world)
        return decision
    bit = 1 << cell_of(packet)
    noted = world.cells.get(place, 0)
    reason = by_cell(state, noted=bool(noted & bit))
    if state is BucketState.WATCHING:
        world.cells[place] = noted | bit
    return in_time(Decision(reason, entry.slot, place), group, world)


def is_answered_here(packet: Packet, ends: Socket, state: BucketState, world: World) -> bool:
    """Whether a socket here has the connection that a packet of TCP belongs to, as far as is known.

    In TIME_WAIT it may be an older one with the same ends.
    """
    whose = world.openings.get(ends)
    if ends not in world.sockets or whose == "theirs":
        return False
    if ends not in world.time_waits:
        return True
    if state is BucketState.TAKING:
        return packet.fin and whose == "ours"
    if state is BucketState.DRAINING and not packet.fin and not packet.quoted:
        world.openings[ends] = "theirs"
    return packet.fin


def note_syn(ends: Socket, decision: Decision, world: World) -> None:
    """Note whose a connection is from now on."""
    if decision.reason is Reason.ACCEPT_OWNED:
        world.openings.pop(ends, None)
    elif decision.reason is Reason.ACCEPT_TAKING:
        world.openings[ends] = "ours"
    elif decision.reason in {Reason.DROP_DRAINING, Reason.DROP_EXPIRED} and ends in world.sockets:
        world.openings[ends] = "theirs"


def cell_of(packet: Packet) -> int:
    """Return the cell of a flow: lookup3 over its address as it lies in memory, and its ports."""
    address = struct.unpack("<4I", packet.source.packed.ljust(16, b"\0"))
    ports = (wire_port(packet.sport), wire_port(packet.dport))
    return jhash((*address, *ports), int.from_bytes(b"cell")) >> 26


@dataclass(frozen=True)
class Packet:
    """What is read of a packet; `quoted` if it is one that an ICMP error is about, turned round.

    `whole` is what its fragments have in common, as struct ci_fragment_key has it.
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
    return read and replace(read, whole=whole, first=place == 0x2000)


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
    return Packet(source, protocol, sport, dport, syn=syn, fin=fin)


@dataclass(frozen=True)
class Headers:
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
            headers = replace(headers, fragment=packet[at : at + 8])
            if headers.place & 0xFFF8:
                return headers
            length = 8
        else:
            length = (packet[at + 1] + 1) * 8
        if at + length > LONGEST_HEADERS:
            return None
        headers = replace(headers, end=at + length, protocol=packet[at])
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
    return read and replace(read, whole=whole, first=bool(headers.place & 1))


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


def rule_for(
    vip: Address,
    source: Address,
    protocol: int,
    sport: int,
    dport: int,
    rules: InterfaceState,
) -> Entry | None:
    """Return the first rule that covers the packet."""
    for entry in sorted(rules.entries, key=lambda entry: entry.position):
        match = entry.rule.match
        if entry.rule.vip != vip:
            continue
        if match.protocol and (match.protocol == protocol) == match.protocol_negated:
            continue
        inside = match.source.prefixlen == 0 or source in match.source
        if inside == match.source_negated:
            continue
        conditions: list[tuple[Ports, tuple[int, ...]]]
        conditions = [(one, (sport,)) for one in match.source_ports]
        conditions += [(one, (dport,)) for one in match.destination_ports]
        conditions += [(one, (sport, dport)) for one in match.either_ports]
        if conditions and protocol not in RULE_PORTS:
            continue
        if all(
            any(first <= port <= last for port in ports for first, last in one.ranges)
            != one.negated
            for one, ports in conditions
        ):
            return entry
    return None


def by_state(state: BucketState, *, syn: bool, here: bool) -> Reason:
    """Decide about TCP: the table of DESIGN, "The packet path"."""
    if state in {BucketState.OWNED, BucketState.WATCHING}:
        return Reason.ACCEPT_OWNED
    if state is BucketState.TAKING:
        return Reason.ACCEPT_TAKING if syn or here else Reason.DROP_TAKING
    if state is BucketState.DRAINING:
        return Reason.ACCEPT_DRAINING if not syn and here else Reason.DROP_DRAINING
    return Reason.DROP_NOT_OWNED


def by_cell(state: BucketState, *, noted: bool) -> Reason:
    """Decide about what is not TCP: flows in the noted cells stay with the owner before."""
    if state in {BucketState.OWNED, BucketState.WATCHING}:
        return Reason.ACCEPT_OWNED
    if state is BucketState.TAKING:
        return Reason.DROP_TAKING if noted else Reason.ACCEPT_TAKING
    if state is BucketState.DRAINING:
        return Reason.ACCEPT_DRAINING if noted else Reason.DROP_DRAINING
    return Reason.DROP_NOT_OWNED


def in_time(decision: Decision, group: Group, world: World) -> Decision:
    """Turn an accept past the deadline into a drop."""
    deadline = world.deadlines.get(group.index, NO_DEADLINE)
    if decision.drops or deadline == NO_DEADLINE or world.now() < deadline:
        return decision
    return Decision(Reason.DROP_EXPIRED, decision.slot, decision.place)


def egress(frame: bytes, rules: InterfaceState) -> bytes | None:
    """Return what the egress hook makes of a frame; None if it discards it."""
    plain = untagged(frame)
    if plain is None:
        return None
    told = egress6(egress4(plain, rules), rules)
    return told and frame[: 12 + len(frame) - len(plain)] + told[12:]


def egress4(frame: bytes, rules: InterfaceState) -> bytes:
    """Return what becomes of ARP."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x06":
        return frame
    if frame[14:20] != b"\x00\x01\x08\x00\x06\x04":
        return frame
    group = rules.group(IPv4Address(frame[28:32]))
    return frame if group is None else frame[:22] + bytes(group.sharing.mac) + frame[28:]


def egress6(frame: bytes, rules: InterfaceState) -> bytes | None:
    """Return what becomes of neighbour discovery; None if it is discarded."""
    if len(frame) < 78 or frame[12:14] != b"\x86\xdd" or frame[20] != ICMPV6:
        return frame
    kind = frame[54]
    if kind not in {135, 136}:
        return frame
    group = rules.group(IPv6Address(frame[22:38] if kind == 135 else frame[62:78]))
    if group is None:
        return frame
    end = 54 + int.from_bytes(frame[18:20], "big")
    at = 78
    for _ in range(8):
        if at == end:
            return frame
        if len(frame) < at + 8 or at + 8 > end or frame[at + 1] == 0:
            return None
        if frame[at] == kind - 134:
            if frame[at + 1] != 1:
                return None
            told = frame[: at + 2] + bytes(group.sharing.mac) + frame[at + 8 :]
            mended = checksum(frame[56:58], frame[at : at + 8], told[at : at + 8])
            return told[:56] + mended + told[58:]
        at += frame[at + 1] * 8
        if at > LONGEST_HEADERS:
            return None
    return None


def checksum(before: bytes, old: bytes, new: bytes) -> bytes:
    """Return a checksum after a change of 8 bytes: RFC 1624, equation 3."""
    total = ~int.from_bytes(before, "big") & 0xFFFF
    total += sum(~word & 0xFFFF for word in struct.unpack(">4H", old))
    total += sum(struct.unpack(">4H", new))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)
