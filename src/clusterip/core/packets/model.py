"""What a rule says: which packets it matches, for which VIP, and how the VIP is shared.

All values are immutable and compare by content, so "the same rule" is `==`.
They are also what the state document holds (see `core.packets.state`), so each is a msgspec Struct.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv4Network
from typing import Final

import msgspec

from clusterip.core.address import Address
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode

ANY_PROTOCOL: Final = 0
"""`-p all`: in a rule, protocol 0 stands for every protocol, as it does in iptables."""

TCP: Final = 6
UDP: Final = 17
DCCP: Final = 33
SCTP: Final = 132
UDPLITE: Final = 136
PORT_MATCH_PROTOCOLS: Final = frozenset({TCP, UDP, DCCP, SCTP, UDPLITE})
"""The protocols whose rules may name ports."""

ALL_PORTS: Final = (0, 0xFFFF)
ANY_SOURCE: Final = IPv4Network("0.0.0.0/0")
"""Every source, IPv6 too. No other condition on the source holds for an IPv6 packet."""

PortRange = tuple[int, int]
"""First and last port, both included, 0..65535, host order."""


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the document beside the compiled rules has, which programs of other versions read.

    A field that is as before is not written. So an older program reads what it could have written
    itself, and refuses what it cannot do rather than leave it out.
    """


class Mac(Stored, frozen=True, order=True):
    """A link-layer address: 12 lower-case hex digits without separators."""

    digits: str

    @classmethod
    def of(cls, raw: bytes) -> Mac:
        """Make one of 6 bytes in the order of the wire."""
        return cls(raw.hex())

    def __bytes__(self) -> bytes:
        return bytes.fromhex(self.digits)

    def __str__(self) -> str:
        return ":".join(self.digits[at : at + 2] for at in range(0, 12, 2))

    @property
    def upper(self) -> str:
        """As text in upper case: so release 0.1.0 has it in JSON, and the old target prints it."""
        return str(self).upper()

    @property
    def multicast(self) -> bool:
        """Whether the group bit is set: the first byte is odd (IEEE 802)."""
        return bool(bytes(self)[0] & 1)


class Ports(Stored, frozen=True):
    """One port condition of a rule.

    `module` is the iptables match it belongs to (tcp, udp, sctp, dccp, multiport), `ranges` the
    ports it names in the order written, `negated` whether a `!` stood before it.
    """

    module: str
    ranges: tuple[PortRange, ...]
    negated: bool = False

    def accepts(self) -> tuple[PortRange, ...]:
        """Return the ports that satisfy the condition: ascending, disjoint ranges."""
        merged: list[PortRange] = []
        for first, last in sorted(self.ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return tuple(_complement(merged)) if self.negated else tuple(merged)


def _complement(ranges: list[PortRange]) -> Iterator[PortRange]:
    start = 0
    for first, last in ranges:
        if start < first:
            yield start, first - 1
        start = last + 1
    if start <= ALL_PORTS[1]:
        yield start, ALL_PORTS[1]


def _intersect(one: tuple[PortRange, ...], other: tuple[PortRange, ...]) -> tuple[PortRange, ...]:
    return tuple((max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) <= min(b, d))


class Box(msgspec.Struct, frozen=True):
    """A rectangle of packets: every rule is a union of these.

    `protocols` is None for all; the port ranges apply to protocols with ports only, and are
    ALL_PORTS otherwise. `source_negated` turns `source` into "anything but".
    """

    protocols: frozenset[int] | None
    source: IPv4Network
    source_negated: bool
    source_ports: PortRange
    destination_ports: PortRange

    def admits(self, source: Address) -> bool:
        """Whether packets from that address may be in it."""
        return (self.source == ANY_SOURCE or source in self.source) is not self.source_negated


class Match(Stored, frozen=True):
    """Which of the VIP's packets a rule covers.

    The port conditions are joined by "and"; `either_ports` (multiport's `--ports`) holds when
    the source or the destination port satisfies it.
    """

    protocol: int = ANY_PROTOCOL
    protocol_negated: bool = False
    source: IPv4Network = ANY_SOURCE
    source_negated: bool = False
    source_ports: tuple[Ports, ...] = ()
    destination_ports: tuple[Ports, ...] = ()
    either_ports: tuple[Ports, ...] = ()

    def ports(self) -> tuple[tuple[Ports, ...], ...]:
        """Return the port conditions: on the source, on the destination, on either."""
        return self.source_ports, self.destination_ports, self.either_ports

    def protocols(self) -> frozenset[int] | None:
        """Return the protocol numbers covered, None for all of them."""
        if self.protocol == ANY_PROTOCOL:
            return frozenset() if self.protocol_negated else None
        if self.protocol_negated:
            return frozenset(range(256)) - {self.protocol}
        return frozenset({self.protocol})

    def boxes(self) -> Iterator[Box]:
        """Yield rectangles whose union is what the rule covers; they may overlap."""
        everything: tuple[PortRange, ...] = (ALL_PORTS,)
        pairs = [(everything, everything)]
        for condition in self.source_ports:
            pairs = [(_intersect(s, condition.accepts()), d) for s, d in pairs]
        for condition in self.destination_ports:
            pairs = [(s, _intersect(d, condition.accepts())) for s, d in pairs]
        for condition in self.either_ports:
            # A negated `--ports` asks that neither port is among those named.
            ports = condition.accepts()
            if condition.negated:
                pairs = [(_intersect(s, ports), _intersect(d, ports)) for s, d in pairs]
            else:
                pairs = [
                    pair
                    for s, d in pairs
                    for pair in ((_intersect(s, ports), d), (s, _intersect(d, ports)))
                ]
        for sources, destinations in pairs:
            for source_ports in sources:
                for destination_ports in destinations:
                    yield Box(
                        self.protocols(),
                        self.source,
                        self.source_negated,
                        source_ports,
                        destination_ports,
                    )


class Sharing(Stored, frozen=True):
    """How a VIP is shared: what `--new` introduces.

    `total` is 1..256 buckets, `hash_init` 0..4294967295. All hosts must agree on these and on
    `mac`, or a packet is answered twice or not at all. `source_prefix6` is how many bits of an
    IPv6 source are hashed, 1..128, and without meaning for an IPv4 VIP.
    """

    mode: HashMode
    mac: Mac
    total: int
    hash_init: int = 0
    source_prefix6: int = SOURCE_PREFIX6


class ServiceAction(Enum):
    """What becomes of the packets that a rule covers, in the order of enum ci_action of abi.h."""

    BALANCE = "balance"
    SINGLE = "single"
    DROP = "drop"


class Treatment(msgspec.Struct, frozen=True):
    """An action with what it needs: `mode` is read for BALANCE only, `bucket` for SINGLE only."""

    action: ServiceAction
    mode: HashMode
    bucket: int


class Comment(Stored, frozen=True):
    """A `-m comment` of a rule: 0..255 bytes of any encoding, which change no packet.

    It stands after that many of the rule's other matches.
    """

    text: bytes
    after: int = 0


class Rule(Stored, frozen=True):
    """One line of the chain: `-A INPUT -d VIP -i DEV ... -j CLUSTERIP ...`.

    `sharing` is None for a rule that joins a VIP (no `--new`); `local_node` is as the rule said,
    0..total, 0 for "start with no bucket", and has no meaning without `sharing`. `bucket`,
    1..total, has all packets if the action is SINGLE, and is 0 otherwise. Commands make rules
    that balance only. Rules that differ in their comments are two, as in iptables.
    """

    vip: Address
    interface: str
    match: Match = Match()
    sharing: Sharing | None = None
    local_node: int = 0
    manage_address: bool = False
    action: ServiceAction = ServiceAction.BALANCE
    bucket: int = 0
    comments: tuple[Comment, ...] = ()
