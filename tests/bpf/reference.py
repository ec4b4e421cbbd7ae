"""The verdict as DESIGN has it, in plain Python: slow, obvious, and written without the C at hand.

It reads rules as they were written, one after the other, and knows nothing of tables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from clusterip import bucket
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.address import Address
from clusterip.core.packets.hashing import jhash, wire_port
from clusterip.core.packets.model import Ports, ServiceAction
from clusterip.core.packets.state import Entry, Group, InterfaceState
from tests.bpf.reading import ICMPV6, LONGEST_HEADERS, TCP, Packet, read_ip, read_ip6, untagged

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
    flow_slots: dict[tuple[int, int], int] = field(default_factory=dict)
    """(Group, bucket from 0) -> mask of flow slots; watching adds to it."""
    openings: dict[Socket, str] = field(default_factory=dict)
    """Whose the connection between these ends is, by its newest SYN: "theirs" or "ours"."""
    time_waits: frozenset[Socket] = frozenset()
    cookies: frozenset[tuple[Socket, tuple[int, int]]] = frozenset()
    """What acknowledges the SYN cookies of listeners here: ends, and `Packet.acknowledges`."""
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

    @property
    def drops_early(self) -> bool:
        """Whether XDP discards it, too: that a lease is over is for tc to say."""
        return self.drops and self.reason is not Reason.DROP_EXPIRED


UNTOUCHED = Decision(None)


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
            leased = world.deadlines.get(group.index, NO_DEADLINE) != NO_DEADLINE
            note_syn(ends, decision, world, leased=leased)
        return decision
    bit = 1 << flow_slot_of(packet)
    noted = world.flow_slots.get(place, 0)
    reason = by_flow_slot(state, noted=bool(noted & bit))
    if state is BucketState.WATCHING:
        world.flow_slots[place] = noted | bit
    return in_time(Decision(reason, entry.slot, place), group, world)


def is_answered_here(packet: Packet, ends: Socket, state: BucketState, world: World) -> bool:
    """Whether a socket here has the connection that a packet of TCP belongs to, as far as is known.

    In TIME_WAIT it may be an older one with the same ends. What a listener answered with a SYN
    cookie has no socket before the client acknowledges that.
    """
    whose = world.openings.get(ends)
    if whose == "theirs":
        return False
    if ends not in world.sockets:
        known = (ends, packet.acknowledges) in world.cookies
        return state is BucketState.TAKING and whose == "ours" and known
    if ends not in world.time_waits:
        return True
    if state is BucketState.TAKING:
        return packet.fin and whose == "ours"
    if state is BucketState.DRAINING and not packet.fin and not packet.quoted:
        world.openings[ends] = "theirs"
    return packet.fin


def note_syn(ends: Socket, decision: Decision, world: World, *, leased: bool) -> None:
    """Note whose a connection is from now on: with leases even while others have the bucket."""
    theirs = {Reason.DROP_DRAINING, Reason.DROP_EXPIRED}
    if leased:
        theirs.add(Reason.DROP_NOT_OWNED)
    if decision.reason is Reason.ACCEPT_OWNED:
        world.openings.pop(ends, None)
    elif decision.reason is Reason.ACCEPT_TAKING:
        world.openings[ends] = "ours"
    elif decision.reason in theirs and ends in world.sockets:
        world.openings[ends] = "theirs"
    elif decision.reason in theirs and world.openings.get(ends) in {"ours", "alone"}:
        del world.openings[ends]


def flow_slot_of(packet: Packet) -> int:
    """Return the slot of a flow: lookup3 over its address as it lies in memory, and its ports."""
    address = struct.unpack("<4I", packet.source.packed.ljust(16, b"\0"))
    ports = (wire_port(packet.sport), wire_port(packet.dport))
    return jhash((*address, *ports), int.from_bytes(b"cell")) >> 26


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


def by_flow_slot(state: BucketState, *, noted: bool) -> Reason:
    """Decide about what is not TCP: flows in the noted flow slots stay with the owner before."""
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
