"""Where a flow goes: its bucket, its rule or service, the node that answers, what is of it here."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from clusterip.core.address import Address
from clusterip.core.packets.lookup import Packet, packet_bucket, which
from clusterip.core.packets.model import ServiceAction, Sharing
from clusterip.core.packets.state import Chain
from clusterip.core.rules import services
from clusterip.core.rules.render import rule_line
from clusterip.core.status import Node, Status


class Whereabouts(msgspec.Struct, frozen=True):
    """What is told of a flow. What is None is not known, or means nothing here.

    `bucket` is None where every host discards the packet, whatever it would fall into. `rule` is
    its number in the chain, or among those of the daemon of `cluster`, where one runs it;
    `rule_text` is the rule as `-S` prints it, `action` what it does. `held` is whether this host
    holds the bucket now, `state` how the kernel has it: none, owned, taking or draining.

    `service` and `decided_by` are of what a daemon runs, in a few words. `node` is the node that
    answers as the daemon here knows it, "" where none does, two with a comma between where both say
    so. `keeps` are those that answer connections which are older than a move, and nothing else.
    `connection` is whether the flow has a TCP connection on this host.
    """

    bucket: int | None
    total_nodes: int
    rule: int | None = None
    rule_text: str | None = None
    action: str | None = None
    held: bool | None = None
    cluster: str | None = None
    service: str | None = None
    decided_by: str | None = None
    node: str | None = None
    keeps: tuple[str, ...] = ()
    state: str | None = None
    connection: bool | None = None


class Here(msgspec.Struct, frozen=True):
    """How this host has the buckets of a VIP.

    `states` has the word for each, from bucket 1 on; `held` are those that it answers now. `said`
    is what the daemon says that runs the VIP, None if there is none or it does not answer.
    """

    chain: Chain
    states: tuple[str, ...]
    held: frozenset[int]
    said: Status | None = None


def by_hash(packet: Packet, parameters: Sharing) -> Whereabouts:
    """Return what these parameters alone say of a packet."""
    return Whereabouts(packet_bucket(parameters, packet), parameters.total)


def by_rules(packet: Packet, here: Here) -> Whereabouts:
    """Return what is known here of a packet; RefusedError if its VIP is not shared here."""
    found = which(here.chain, packet)
    shared = here.chain.find(packet.vip)
    if found.entry is None or shared is None:
        return Whereabouts(None, found.total, held=False)
    state, group = shared
    rule = found.entry.rule
    cluster = state.cluster or None
    told = Whereabouts(
        None,
        found.total,
        found.number,
        rule_line(rule, by_daemon=bool(cluster)),
        rule.action.value,
        held=False,
        cluster=cluster,
    )
    if cluster:
        told = msgspec.structs.replace(
            told,
            service=services.named(rule),
            decided_by=services.decided_by(rule, group.mode(rule)),
        )
    if rule.action is ServiceAction.DROP:
        return told
    answering, keeping = holders(here.said, found.bucket) if here.said else (None, ())
    return msgspec.structs.replace(
        told,
        bucket=found.bucket,
        held=found.bucket in here.held,
        state=here.states[found.bucket - 1],
        node=None if answering is None else ", ".join(answering),
        keeps=tuple(keeping),
    )


def ports_matter(chain: Chain, vip: Address) -> tuple[bool, bool]:
    """Tell whether rules of a VIP look at the source port, and at the destination port."""
    shared = chain.find(vip)
    if shared is None:
        return True, True
    state, group = shared
    rules = [one.rule for one in state.entries if one.rule.vip == vip]
    modes = {group.sharing.mode, *map(group.mode, rules)}
    source, destination, either = (
        (any(some) for some in zip(*(one.match.ports() for one in rules), strict=True))
        if rules
        else (False, False, False)
    )
    return (
        source or either or any("sourceport" in mode.value for mode in modes),
        destination or either or any("destport" in mode.value for mode in modes),
    )


def holders(said: Status, bucket: int) -> tuple[list[str], list[str]]:
    """Return the nodes that answer a bucket, and those that keep its older connections."""
    serves = said.lease_seconds > 0
    there = [node for node in said.nodes if (serves if node.me else node.alive and node.agrees)]
    return _with(bucket, there, draining=False), _with(bucket, there, draining=True)


def _with(bucket: int, nodes: Collection[Node], *, draining: bool) -> list[str]:
    return [one.name for one in nodes if bucket in (one.draining if draining else one.held)]
