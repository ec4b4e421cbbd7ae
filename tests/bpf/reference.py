"""The verdict as DESIGN has it, in plain Python: slow, obvious, and written without the C at hand.

It reads rules as they were written, one after the other, and knows nothing of tables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from clusterip import bucket
from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.core.model import Ports
from clusterip.core.state import Entry, Group, InterfaceState

ICMP, TCP = 1, 6
ICMP_ERRORS = {3, 4, 5, 11, 12}
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
    now: Callable[[], int] = lambda: 0
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


def decide(frame: bytes, world: World) -> Decision:
    """Return what an ingress hook does with a frame."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return UNTOUCHED
    vip = IPv4Address(frame[30:34])
    group = world.rules.group(vip)
    if group is None:
        return UNTOUCHED
    packet = read_ip(frame[14:])
    if packet is None:
        return Decision(Reason.DROP_MALFORMED)
    # Source, destination, id, protocol: RFC 791 on reassembly.
    whole = frame[26:34] + frame[18:20] + frame[23:24]
    if packet.later_fragment:
        dropped = not packet.quoted and world.firsts.get(whole, False)
        reason = Reason.DROP_FRAGMENT if dropped else Reason.ACCEPT_FRAGMENT
        return in_time(Decision(reason), group, world)
    decision = decide_whole(packet, vip, group, world)
    if struct.unpack(">H", frame[20:22])[0] & 0x3FFF == 0x2000:
        world.firsts[whole] = decision.drops
    return decision


def decide_whole(packet: Packet, vip: IPv4Address, group: Group, world: World) -> Decision:
    """Decide about a packet whose ports are known."""
    source, sport, dport = packet.source, packet.sport, packet.dport
    entry = rule_for(vip, source, packet.protocol, sport, dport, world.rules)
    if entry is None:
        return Decision(Reason.DROP_NO_RULE)
    sharing = group.sharing
    mode = (entry.rule.sharing or sharing).mode.value
    number = bucket(mode, sharing.total, sharing.hash_init, str(source), sport, dport)
    state = world.buckets.get(group.index, [BucketState.NONE] * 256)[number - 1]
    here = (str(source), sport, str(vip), dport) in world.sockets
    reason = by_state(state, tcp=packet.protocol == TCP, syn=packet.syn, here=here)
    return in_time(Decision(reason, entry.slot, (group.index, number - 1)), group, world)


@dataclass(frozen=True)
class Packet:
    """What is read of a packet; `quoted` if it is one that an ICMP error is about, turned round."""

    source: IPv4Address
    protocol: int
    sport: int = 0
    dport: int = 0
    later_fragment: bool = False
    syn: bool = False
    quoted: bool = False


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
    if struct.unpack(">H", packet[6:8])[0] & 0x1FFF:
        return Packet(source, protocol, later_fragment=True)
    transport = packet[header:]
    if protocol == ICMP and len(transport) >= 8 and transport[0] in ICMP_ERRORS:
        return read_quoted(source, packet[16:20], transport[8:])
    if protocol not in PORTS_AT:
        return Packet(source, protocol)
    at = PORTS_AT[protocol]
    if len(transport) < (20 if protocol == TCP else at + 4):
        return None
    sport, dport = struct.unpack(">HH", transport[at : at + 4])
    syn = protocol == TCP and transport[13] & 0x12 == 0x02
    return Packet(source, protocol, sport, dport, syn=syn)


def read_quoted(sender: IPv4Address, vip: bytes, inner: bytes) -> Packet | None:
    """Return the packet that an ICMP error quotes, as if the client had sent it."""
    if len(inner) < 20:
        return None
    header = (inner[0] & 15) * 4
    if inner[0] >> 4 != 4 or header < 20 or len(inner) < header + 8:
        return None
    if inner[12:16] != vip:
        return Packet(sender, ICMP)
    client, protocol = IPv4Address(inner[16:20]), inner[9]
    if struct.unpack(">H", inner[6:8])[0] & 0x1FFF:
        return Packet(client, protocol, later_fragment=True, quoted=True)
    if protocol not in PORTS_AT:
        return Packet(client, protocol, quoted=True)
    at = header + PORTS_AT[protocol]
    ours, theirs = struct.unpack(">HH", inner[at : at + 4])
    return Packet(client, protocol, theirs, ours, quoted=True)


def rule_for(
    vip: IPv4Address,
    source: IPv4Address,
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
        if (source in match.source) == match.source_negated:
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


def by_state(state: BucketState, *, tcp: bool, syn: bool, here: bool) -> Reason:
    """The table of DESIGN, "The packet path"."""
    if state is BucketState.OWNED:
        return Reason.ACCEPT_OWNED
    if state is BucketState.TAKING:
        return Reason.ACCEPT_TAKING if not tcp or syn or here else Reason.DROP_TAKING
    if state is BucketState.DRAINING:
        return Reason.ACCEPT_DRAINING if tcp and not syn and here else Reason.DROP_DRAINING
    return Reason.DROP_NOT_OWNED


def in_time(decision: Decision, group: Group, world: World) -> Decision:
    """Turn an accept past the deadline into a drop."""
    deadline = world.deadlines.get(group.index, NO_DEADLINE)
    if decision.drops or deadline == NO_DEADLINE or world.now() < deadline:
        return decision
    return Decision(Reason.DROP_EXPIRED, decision.slot, decision.place)


def egress(frame: bytes, rules: InterfaceState) -> bytes:
    """Return what the egress hook makes of a frame."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x06":
        return frame
    if frame[14:20] != b"\x00\x01\x08\x00\x06\x04":
        return frame
    group = rules.group(IPv4Address(frame[28:32]))
    return frame if group is None else frame[:22] + bytes(group.sharing.mac) + frame[28:]
