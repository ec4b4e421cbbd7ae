"""From the tables of the configuration file to our values, and the rules between their keys.

What a function cannot make for a fault, it leaves out; the fault is noted and ends the reading.
"""

from __future__ import annotations

from typing import Any

from clusterip.core import limits
from clusterip.core.config import declared, values
from clusterip.core.config.declared import Cluster
from clusterip.core.config.mac import default_mac
from clusterip.core.config.model import CommandCheck, HttpCheck, Node, Service, TcpCheck, Vip
from clusterip.core.config.table import Table
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import (
    ALL_PORTS,
    ANY_PROTOCOL,
    PORT_MATCH_PROTOCOLS,
    PortRange,
    ServiceAction,
)


def fields(table: Table) -> dict[str, Any]:
    """Return what a table says, by the names of `core.config.model`."""
    return {key.field or key.name: table.said[key.name] for key in table.keys}


def vip(table: declared.Vip, cluster: Cluster) -> Vip | None:
    """Make a VIP of a [[vip]], with its services."""
    services = _services(table, cluster)
    if table.address is None:
        return None
    return Vip(table.address, table.mac or cluster.mac or default_mac(table.address), services)


def specificity(service: Service) -> tuple[bool, int, int, int]:
    """Return what sorts services, the most specific first: a protocol, then the fewest ports."""
    first, last = service.ports
    return service.protocol == ANY_PROTOCOL, last - first, service.protocol, first


def _services(table: declared.Vip, cluster: Cluster) -> tuple[Service, ...]:
    if "service" not in table:
        return (Service(mode=table.hashmode),)
    # A number at fault is one fault, not another for each service that names a bucket.
    buckets = limits.BUCKETS if cluster.is_at_fault("buckets") else cluster.buckets
    found: list[Service] = []
    for one in table.tables(declared.Service, bucket=values.whole(1, buckets)):
        for service in _service(one, table.hashmode):
            _no_conflict(one, service, found)
            found.append(service)
    return tuple(sorted(found, key=specificity))


def _service(table: declared.Service, default: HashMode) -> list[Service]:
    action = table.action
    bucket = _bucket(table)
    if action is not ServiceAction.BALANCE and "hashmode" in table:
        table.blame(
            "hashmode",
            f'hashmode: nothing is hashed where the action is "{action.value}"',
            'leave hashmode out, or write action = "balance"',
        )
    if table.protocol is None:
        return []
    if "ports" in table and table.protocol not in PORT_MATCH_PROTOCOLS:
        table.blame(
            "ports",
            "ports: this protocol has none that a service can name",
            "leave ports out, or name a protocol: tcp, udp, udplite, sctp, dccp",
        )
    mode = table.hashmode or default
    ranges = table.ports or (ALL_PORTS,)
    return [Service(table.protocol, ports, mode, action, bucket) for ports in ranges]


def _bucket(table: declared.Service) -> int:
    """Return the bucket that has all packets of a service, 0 if they have none in common."""
    action = table.action
    if action is ServiceAction.SINGLE:
        return table.bucket
    # Of an action at fault nobody knows whether a bucket goes with it.
    known = action is not ServiceAction.BALANCE or table.get("action", action.value) == action.value
    if known and "bucket" in table:
        table.blame(
            "bucket",
            f'bucket: a service whose action is "{action.value}" has none of its own',
            'leave bucket out, or write action = "single"',
        )
    return 0


def _no_conflict(table: declared.Service, service: Service, others: list[Service]) -> None:
    """Note where it cannot be said which of two services is the more specific."""
    for other in others:
        if other.protocol == service.protocol and not _nested(service.ports, other.ports):
            table.notes.add(
                table.at,
                f"this service and one above both name ports {_common(service, other)}"
                + _each(service, other),
                "let them name different ports, or one of them only some ports of the other",
            )


def _nested(one: PortRange, other: PortRange) -> bool:
    """Whether two ranges are apart, or one is a true part of the other."""
    apart = one[1] < other[0] or other[1] < one[0]
    inside = one[0] >= other[0] and one[1] <= other[1]
    around = one[0] <= other[0] and one[1] >= other[1]
    return apart or inside is not around


def _common(one: Service, other: Service) -> str:
    first = max(one.ports[0], other.ports[0])
    last = min(one.ports[1], other.ports[1])
    return _ports((first, last))


def _each(one: Service, other: Service) -> str:
    """Return what each of two names, where that is not the same."""
    if one.ports == other.ports:
        return ""
    return f" ({_ports(one.ports)} here, {_ports(other.ports)} above)"


def _ports(ports: PortRange) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


def node(table: declared.Node, cluster: Cluster) -> Node | None:
    """Make a node of a [[node]]."""
    name, witness = table.name, table.witness
    if witness:
        _check_witness(table, cluster)
    elif not has_interface(table, cluster):
        table.blame(
            "interface",
            f"node {name} has no interface" if name else "this node has no interface",
            'add interface = "eth0" to it, or to [cluster] for all nodes',
        )
    if name is None:
        return None
    interface = table.interface or cluster.interface or ""
    return Node(name, interface, table.address or (), 0 if witness else table.weight, witness)


def has_interface(table: declared.Node, cluster: Cluster) -> bool:
    """Whether a [[node]] is given an interface, be it one at fault."""
    # A name at fault is one fault, not another for each node that relies on it.
    return table.means("interface") or cluster.means("interface")


def _check_witness(table: declared.Node, cluster: Cluster) -> None:
    if "weight" in table:
        table.blame("weight", "weight: a witness holds no buckets", "leave weight out")
    if "address" not in table and not has_interface(table, cluster):
        table.blame(
            "address",
            "a witness without an interface has no address",
            'add address = "10.9.0.9", or the interface on which it is reached by broadcast',
        )


def check(table: declared.Check) -> TcpCheck | HttpCheck | CommandCheck | None:
    """Make a check of a [[check]]."""
    timeout = _timeout(table)
    if table.type == CommandCheck.type:
        made: type[TcpCheck | HttpCheck | CommandCheck] = CommandCheck
        target = values.printable(" ".join(table.command)) if table.command else ""
    else:
        made = TcpCheck if table.type == TcpCheck.type else HttpCheck
        path = table.path if made is HttpCheck else ""
        target = f"{table.type} {table.address}:{table.port}{path}" if table.port else ""
    if table.type is None or not target:
        return None
    said = fields(table) | {
        "name": table.name or target,
        "timeout": timeout,
        "host": table.host or str(table.address),
    }
    return made(**{one: said[one] for one in made.__struct_fields__})


def _timeout(table: declared.Check) -> int:
    """Return when a check is given up: it must end before the next one begins."""
    interval = table.interval
    given = "timeout" in table and not table.is_at_fault("timeout")
    timeout = table.timeout if given else min(table.timeout, interval)
    if timeout > interval and not table.is_at_fault("interval"):
        table.blame(
            "timeout",
            f"timeout: {values.span(timeout)} is longer than the interval, {values.span(interval)}",
            "a check must end before the next one begins: shorten one or lengthen the other",
        )
    return timeout
