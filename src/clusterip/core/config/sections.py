"""The tables of the configuration file: one function each, from TOML to our values.

What a function cannot make for a fault, it leaves out; the fault is noted and ends the reading.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

from clusterip.core import announcement, limits
from clusterip.core.config import values
from clusterip.core.config.mac import default_mac
from clusterip.core.config.model import (
    CommandCheck,
    HttpCheck,
    Node,
    Profile,
    Quorum,
    Service,
    Stop,
    TcpCheck,
    Vip,
)
from clusterip.core.config.table import Table
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode
from clusterip.core.packets.model import (
    ALL_PORTS,
    ANY_PROTOCOL,
    PORT_MATCH_PROTOCOLS,
    Mac,
    PortRange,
    ServiceAction,
)
from clusterip.core.units import MILLISECOND, SECOND

KEY_FILE: Final = "/etc/clusterip.key"
PORT: Final = 5407
BUCKETS: Final = 120
"""Divides evenly among 1 to 6, 8, 10, 12, 15, 20, 24 and 30 hosts; a bucket is under 1 %."""
DRAIN_TIMEOUT: Final = 5 * values.MINUTE
UDP_WATCH: Final = 2 * SECOND
UDP_KEEP: Final = 30 * SECOND
HASHMODE: Final = HashMode.SOURCEIP_SOURCEPORT
SINGLE_BUCKET: Final = 1
WEIGHT: Final = 100
INTERVAL: Final = 2 * SECOND
TIMEOUT: Final = SECOND
RISE: Final = 2
FALL: Final = 3
STATUSES: Final[tuple[values.Range, ...]] = ((200, 299),)
LOCALHOST: Final = IPv4Address("127.0.0.1")

_port = values.whole(1, 65535)
_ports = values.ranges(1, 65535, "8000-8100")
_statuses = values.ranges(100, 599, "200-399")
_hashmode = values.word(HashMode)
_action = values.word(ServiceAction)

_OF_TYPE: Final[dict[str, frozenset[str]]] = {
    "tcp": frozenset({"address", "port"}),
    "http": frozenset({"address", "port", "host", "path", "status", "body"}),
    "command": frozenset({"command"}),
}
"""Which keys of a check only some types have."""

_kind = values.one_of("type", _OF_TYPE)


class Cluster:
    """What [cluster] says. `quorum` is None where the number of voters decides."""

    def __init__(self, table: Table) -> None:
        self.name = table.require("name", values.name, '"web"') or ""
        self.key_file = table.take_or("key_file", values.absolute, KEY_FILE)
        # A name at fault is one fault, not another for each node that relies on it.
        self.interface_given = table.means("interface")
        self.interface = table.take_or("interface", values.interface, "")
        self.port = table.take_or("port", _port, PORT)
        self.profile = table.take_or("profile", values.word(Profile), Profile.DEFAULT)
        self.quorum = table.take("quorum", values.word(Quorum))
        self.stop = table.take_or("stop", values.word(Stop), Stop.RELEASE)
        timeout = values.duration(SECOND, 24 * values.HOUR)
        self.drain_timeout = table.take_or("drain_timeout", timeout, DRAIN_TIMEOUT)
        watch = values.duration(0, values.MINUTE)
        self.udp_watch = table.take_or("udp_watch", watch, UDP_WATCH)
        keep = values.duration(SECOND, values.HOUR)
        self.udp_keep = table.take_or("udp_keep", keep, UDP_KEEP)
        often = values.duration(SECOND // 10, values.MINUTE)
        self.announce_interval = table.take_or("announce_interval", often, announcement.INTERVAL)
        self.announce_count = table.take_or(
            "announce_count", values.whole(0, 20), announcement.COUNT
        )
        # A number at fault is one fault, not another for each service that names a bucket.
        buckets = limits.BUCKETS if "buckets" in table else BUCKETS
        self.buckets = table.take_or("buckets", values.whole(1, limits.BUCKETS), buckets)
        self.hash_init = table.take_or("hash_init", values.whole(0, 0xFFFFFFFF), 0)
        self.source_prefix6 = table.take_or("source_prefix6", values.whole(1, 128), SOURCE_PREFIX6)
        self.mac: Mac | None = table.take("mac", values.mac)
        self.status_group = table.take("status_group", values.group)


def vip(table: Table, cluster: Cluster) -> Vip | None:
    """Read a [[vip]] with its services."""
    address = table.require("address", values.vip, '"10.9.0.100"')
    mode = table.take_or("hashmode", _hashmode, HASHMODE)
    mac = table.take("mac", values.mac) or cluster.mac
    services = _services(table, mode, cluster)
    if address is None:
        return None
    return Vip(address, mac or default_mac(address), services)


def specificity(service: Service) -> tuple[bool, int, int, int]:
    """Return what sorts services, the most specific first: a protocol, then the fewest ports."""
    first, last = service.ports
    return service.protocol == ANY_PROTOCOL, last - first, service.protocol, first


def _services(table: Table, mode: HashMode, cluster: Cluster) -> tuple[Service, ...]:
    if "service" not in table:
        return (Service(mode=mode),)
    found: list[Service] = []
    for one in table.tables("service"):
        for service in _service(one, mode, cluster):
            _no_conflict(one, service, found)
            found.append(service)
    return tuple(sorted(found, key=specificity))


def _service(table: Table, default: HashMode, cluster: Cluster) -> list[Service]:
    protocol = table.require("protocol", values.protocol, '"tcp"')
    everything: tuple[PortRange, ...] = (ALL_PORTS,)
    ranges = table.take_or("ports", _ports, everything)
    mode = table.take_or("hashmode", _hashmode, default)
    action = table.take_or("action", _action, ServiceAction.BALANCE)
    bucket = _bucket(table, action, cluster)
    if action is not ServiceAction.BALANCE and "hashmode" in table:
        table.blame(
            "hashmode",
            f'hashmode: nothing is hashed where the action is "{action.value}"',
            'leave hashmode out, or write action = "balance"',
        )
    if protocol is None:
        return []
    if "ports" in table and protocol not in PORT_MATCH_PROTOCOLS:
        table.blame(
            "ports",
            "ports: this protocol has none that a service can name",
            "leave ports out, or name a protocol: tcp, udp, udplite, sctp, dccp",
        )
    return [Service(protocol, ports, mode, action, bucket) for ports in ranges]


def _bucket(table: Table, action: ServiceAction, cluster: Cluster) -> int:
    """Return the bucket that has all packets of a service, 0 if they have none in common."""
    # Of an action at fault nobody knows whether a bucket goes with it.
    known = action is not ServiceAction.BALANCE or table.get("action", action.value) == action.value
    bucket = table.take_or("bucket", values.whole(1, cluster.buckets), SINGLE_BUCKET)
    if action is ServiceAction.SINGLE:
        return bucket
    if known and "bucket" in table:
        table.blame(
            "bucket",
            f'bucket: a service whose action is "{action.value}" has none of its own',
            'leave bucket out, or write action = "single"',
        )
    return 0


def _no_conflict(table: Table, service: Service, others: list[Service]) -> None:
    """Note where it cannot be said which of two services is the more specific."""
    for other in others:
        if other.protocol == service.protocol and not _nested(service.ports, other.ports):
            table.notes.add(
                table.path,
                f"this service and one above both name ports {_common(service, other)}",
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
    return str(first) if first == last else f"{first}-{last}"


def node(table: Table, cluster: Cluster) -> Node | None:
    """Read a [[node]]."""
    name = table.require("name", values.name, '"web1"')
    addresses = table.take("address", values.addresses) or ()
    weight = table.take_or("weight", values.whole(0, 255), WEIGHT)
    own = table.take("interface", values.interface)
    witness = table.take_or("witness", values.boolean, default=False)
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
    interface = own or cluster.interface
    return Node(name, interface, addresses, 0 if witness else weight, witness)


def has_interface(table: Table, cluster: Cluster) -> bool:
    """Whether a [[node]] is given an interface, be it one at fault."""
    return table.means("interface") or cluster.interface_given


def _check_witness(table: Table, cluster: Cluster) -> None:
    if "weight" in table:
        table.blame("weight", "weight: a witness owns no buckets", "leave weight out")
    if "address" not in table and not has_interface(table, cluster):
        table.blame(
            "address",
            "a witness without an interface has no address",
            'add address = "10.9.0.9", or the interface on which it is reached by broadcast',
        )


def check(table: Table) -> TcpCheck | HttpCheck | CommandCheck | None:
    """Read a [[check]]."""
    pace = _pace(table)
    given = table.take("name", values.name)
    kind = table.require("type", _kind, '"http"')
    if kind is None:
        return None
    for key in sorted(frozenset().union(*_OF_TYPE.values()) - _OF_TYPE[kind]):
        if key in table:
            known = ", ".join(sorted(_OF_TYPE[kind]))
            table.blame(key, f"{key} is not for a check of type {kind}", f"it takes {known}")
    if kind == "command":
        argv = table.require("command", values.argv, '["/usr/lib/checks/web"]')
        return (
            CommandCheck(name=given or values.printable(" ".join(argv)), argv=argv, **pace)
            if argv
            else None
        )
    return _connecting(table, kind, given, pace)


def _pace(table: Table) -> dict[str, int]:
    pace = values.duration(100 * MILLISECOND, values.HOUR)
    count = values.whole(1, 100)
    given = table.take("interval", pace)
    interval = given or INTERVAL
    timeout = table.take_or("timeout", pace, min(TIMEOUT, interval))
    at_fault = given is None and "interval" in table
    if timeout > interval and not at_fault:
        key = "timeout" if "timeout" in table else "interval"
        table.blame(
            key,
            f"timeout: {values.span(timeout)} is longer than the interval, {values.span(interval)}",
            "a check must end before the next one begins: shorten one or lengthen the other",
        )
    return {
        "interval": interval,
        "timeout": timeout,
        "rise": table.take_or("rise", count, RISE),
        "fall": table.take_or("fall", count, FALL),
    }


def _connecting(
    table: Table, kind: str, given: str | None, pace: dict[str, int]
) -> TcpCheck | HttpCheck | None:
    address = table.take_or("address", values.address, LOCALHOST)
    port = table.require("port", _port, "80")
    host = table.take_or("host", values.host, str(address))
    path = table.take_or("path", values.url_path, "/")
    expected = table.take_or("status", _statuses, STATUSES)
    body = table.take_or("body", values.body, "")
    if port is None:
        return None
    if kind == "tcp":
        return TcpCheck(name=given or f"tcp {address}:{port}", address=address, port=port, **pace)
    return HttpCheck(
        name=given or f"http {address}:{port}{path}",
        address=address,
        port=port,
        host=host,
        path=path,
        statuses=expected,
        body=body,
        **pace,
    )
