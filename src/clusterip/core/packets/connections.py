"""How many TCP connections each bucket has: what a drain waits for.

The bucket of a connection is that of its client's packets: their destination is the connection's
local end. A host that drains asks for all connections several times a second, so the rules are
looked at once for each VIP and port; `core.packets.lookup` is the plain form of the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from clusterip.core.address import Address
from clusterip.core.packets.lookup import source_bucket
from clusterip.core.packets.model import (
    ALL_PORTS,
    ANY_SOURCE,
    TCP,
    Box,
    PortRange,
    ServiceAction,
    Sharing,
)
from clusterip.core.packets.state import InterfaceState


class Connection(NamedTuple):
    """A TCP connection of this host: `vip` and `port` are its local end, the rest its client.

    Ports are 0..65535 in host order.
    """

    vip: Address
    port: int
    source: Address
    source_port: int


class _Way(NamedTuple):
    """What becomes of connections from `box` to one VIP and port; every source if it is None.

    `bucket` is the one that has them all, else they are hashed; `sharing` None: they are dropped.
    """

    box: Box | None
    sharing: Sharing | None
    bucket: int


def count(state: InterfaceState, connections: Iterable[Connection]) -> dict[int, int]:
    """Return how many connections each bucket has, 1..total, by the rules of one interface.

    Buckets without any are left out, and so are connections that no rule covers or one drops.
    Groups are added up.
    """
    ways: dict[tuple[Address, int], tuple[_Way, ...]] = {}
    counts: dict[int, int] = {}
    for vip, port, source, source_port in connections:
        end = (vip, port)
        candidates = ways.get(end)
        if candidates is None:
            candidates = ways[end] = _ways(state, vip, port)
        for box, sharing, single in candidates:
            if box is None or _from(box, source, source_port):
                if sharing is not None:
                    bucket = single or source_bucket(sharing, source, source_port, port)
                    counts[bucket] = counts.get(bucket, 0) + 1
                break
    return counts


def _ways(state: InterfaceState, vip: Address, port: int) -> tuple[_Way, ...]:
    """Return what becomes of connections to that VIP and port: the first that fits counts."""
    group = state.group(vip)
    if group is None:
        return ()
    found = []
    for entry in sorted(state.entries, key=lambda entry: entry.position):
        if entry.rule.vip != vip:
            continue
        # A rule may hash other fields than its group, never into other buckets.
        rule, hashed = entry.rule, None
        if rule.action is not ServiceAction.DROP:
            hashed = msgspec.structs.replace(group.sharing, mode=group.mode(rule))
        for box in entry.rule.match.boxes():
            if not _to(box, port):
                continue
            everything = (
                box.source == ANY_SOURCE
                and not box.source_negated
                and box.source_ports == ALL_PORTS
            )
            found.append(_Way(None if everything else box, hashed, rule.bucket))
            if everything:
                return tuple(found)
    return tuple(found)


def _to(box: Box, port: int) -> bool:
    return (box.protocols is None or TCP in box.protocols) and _within(port, box.destination_ports)


def _from(box: Box, source: Address, port: int) -> bool:
    return box.admits(source) and _within(port, box.source_ports)


def _within(port: int, ports: PortRange) -> bool:
    return ports[0] <= port <= ports[1]
