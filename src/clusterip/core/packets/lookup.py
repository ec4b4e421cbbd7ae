"""Which bucket and which rule a packet falls to, worked out from the rules as written.

The BPF programs answer the same question from compiled tables (bpf/abi.h). This is the plain
form: no tables, one rule after the other. It explains a packet to an administrator, and the
tests hold the fast form against it.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Final

import msgspec

from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.packets.hashing import bucket6_of, bucket_of
from clusterip.core.packets.model import PORT_MATCH_PROTOCOLS, TCP, Box, Match, PortRange, Sharing
from clusterip.core.packets.state import Chain, Entry

ESP: Final = 50
AH: Final = 51
PORT_HASH_PROTOCOLS: Final = PORT_MATCH_PROTOCOLS | {ESP, AH}
"""The protocols whose ports are hashed (proto_ports_offset of net/netfilter/xt_proto.c).

ESP and AH have none: what is hashed are the two halves of their SPI."""


class Packet(msgspec.Struct, frozen=True):
    """What of a packet to a VIP decides its fate. Ports 0..65535 in host order, protocol 0..255.

    For ESP and AH the ports are the upper and the lower half of the SPI. The ports of other
    protocols without ports are not looked at.
    """

    vip: Address
    source: Address
    source_port: int = 0
    destination_port: int = 0
    protocol: int = TCP


class Answer(msgspec.Struct, frozen=True):
    """Where a packet falls: `bucket` of 1..`total`, and `entry`, the rule that covers it.

    The bucket of a packet that every host discards is that of its hash, and means nothing.

    `number` is the place of that rule, counted from 1: in the chain, as `-L --line-numbers` does,
    or on its interface if a daemon runs it. Where no rule covers the packet, every host discards
    it: `entry` is None and `number` 0.
    """

    bucket: int
    total: int
    entry: Entry | None
    number: int

    @property
    def covered(self) -> bool:
        """Whether a rule covers the packet."""
        return self.entry is not None


def which(chain: Chain, packet: Packet) -> Answer:
    """Say where `packet` falls; raises RefusedError if its destination is not shared here."""
    found = chain.find(packet.vip)
    if found is None:
        raise RefusedError(
            f"{packet.vip} is not shared here", "clusterip show lists the addresses that are"
        )
    state, group = found
    if packet.source.version != packet.vip.version:
        raise RefusedError(
            f"no packet goes from {packet.source} to {packet.vip}",
            f"give an IPv{packet.vip.version} address as its source",
        )
    sharing = group.sharing
    listed = Chain((state,)) if state.cluster else chain.static()
    for number, entry in enumerate(listed.entries(), start=1):
        if entry.rule.vip == packet.vip and covers(entry.rule.match, packet):
            hashed = msgspec.structs.replace(sharing, mode=group.mode(entry.rule))
            bucket = entry.rule.bucket or packet_bucket(hashed, packet)
            return Answer(bucket, sharing.total, entry, number)
    return Answer(packet_bucket(sharing, packet), sharing.total, None, 0)


def packet_bucket(sharing: Sharing, packet: Packet) -> int:
    """Return the bucket, 1..`sharing.total`, whatever the rules say."""
    hashed = packet.protocol in PORT_HASH_PROTOCOLS
    ports = (packet.source_port, packet.destination_port) if hashed else (0, 0)
    return source_bucket(sharing, packet.source, *ports)


def source_bucket(
    sharing: Sharing, source: Address, source_port: int, destination_port: int
) -> int:
    """Return the bucket, 1..`sharing.total`, of these fields; ports 0..65535 in host order."""
    mode, total, init = sharing.mode, sharing.total, sharing.hash_init
    ports = (source_port, destination_port)
    if isinstance(source, IPv6Address):
        return bucket6_of(mode, total, init, sharing.source_prefix6, int(source), *ports)
    return bucket_of(mode, total, init, int(source), *ports)


def covers(match: Match, packet: Packet) -> bool:
    """Whether a rule with these conditions covers `packet`."""
    return any(_inside(box, packet) for box in match.boxes())


def _inside(box: Box, packet: Packet) -> bool:
    if box.protocols is not None and packet.protocol not in box.protocols:
        return False
    if not box.admits(packet.source):
        return False
    ported = packet.protocol in PORT_MATCH_PROTOCOLS
    return _within(packet.source_port if ported else 0, box.source_ports) and _within(
        packet.destination_port if ported else 0, box.destination_ports
    )


def _within(port: int, ports: PortRange) -> bool:
    first, last = ports
    return first <= port <= last
