"""What the configuration file says, read and checked: plain values, all times in nanoseconds."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Final

import msgspec

from clusterip.core import announcement
from clusterip.core.address import Address
from clusterip.core.packets.hashing import SOURCE_PREFIX6, HashMode
from clusterip.core.packets.model import ALL_PORTS, ANY_PROTOCOL, TCP, Mac, PortRange, ServiceAction

MAX_NODES: Final = 32
MAX_CHECKS: Final = 16


class Profile(Enum):
    """How fast a death is noticed; the values are the keys of `core.lease.timing.PROFILES`."""

    DEFAULT = "default"
    FAST = "fast"
    RELAXED = "relaxed"


class Quorum(Enum):
    """Whose grants are needed: most of all voters, or only of those that are heard."""

    MAJORITY = "majority"
    ALIVE = "alive"


class Stop(Enum):
    """What a daemon does on SIGTERM: give its buckets up at once, or drain them first."""

    RELEASE = "release"
    DRAIN = "drain"


class Service(msgspec.Struct, frozen=True):
    """Packets to a VIP that are dealt with in one way.

    `protocol` is 0..255, 0 for all; `ports` the destination ports, both ends included, ALL_PORTS
    for protocols without ports too. `mode` counts if the action is BALANCE and is the VIP's
    otherwise; `bucket`, 1..the number of buckets, is 0 unless the action is SINGLE.
    """

    protocol: int = ANY_PROTOCOL
    ports: PortRange = ALL_PORTS
    mode: HashMode = HashMode.SOURCEIP_SOURCEPORT
    action: ServiceAction = ServiceAction.BALANCE
    bucket: int = 0


class Vip(msgspec.Struct, frozen=True):
    """A shared address, its cluster MAC and its services.

    The services are ordered so that the first that covers a packet decides: the most specific.
    What none covers is discarded.
    """

    address: Address
    mac: Mac
    services: tuple[Service, ...]


class Node(msgspec.Struct, frozen=True):
    """A host taking part.

    Every node votes. `addresses` are where messages to it are sent, () if it is reached by
    broadcast on the interface of whoever sends. `interface` is empty for a witness that
    broadcasts nowhere. `weight` is 0..255, a witness has 0.
    """

    name: str
    interface: str
    addresses: tuple[IPv4Address, ...] = ()
    weight: int = 100
    witness: bool = False


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A health check: every `interval` ns, given up after `timeout` ns (at most `interval`).

    `rise` good results in a row make a node healthy, `fall` bad ones unhealthy; both 1..100.
    """

    name: str
    interval: int
    timeout: int
    rise: int
    fall: int


class TcpCheck(Check, frozen=True, kw_only=True):
    """A TCP connection to `address` and `port`, 1..65535, can be made."""

    type: ClassVar[str] = "tcp"
    address: IPv4Address
    port: int


class HttpCheck(Check, frozen=True, kw_only=True):
    """GET `path` is answered with a status in `statuses`, and `body` is part of what comes.

    `statuses` are ranges within 100..599; an empty `body` is not looked for.
    """

    type: ClassVar[str] = "http"
    address: IPv4Address
    port: int
    host: str
    path: str
    statuses: tuple[tuple[int, int], ...]
    body: str


class CommandCheck(Check, frozen=True, kw_only=True):
    """A program, started without a shell, exits with 0. `argv[0]` is an absolute path."""

    type: ClassVar[str] = "command"
    argv: tuple[str, ...]


class Config(msgspec.Struct, frozen=True):
    """The whole file, defaults filled in.

    `port` is the UDP port of the daemons, 1..65535; `drain_timeout`, `udp_watch` and
    `udp_keep` are in ns, as is `announce_interval`; `announce_count` is 0..20; `buckets` is
    1..256, `hash_init` 0..4294967295, `source_prefix6` 1..128: how many bits of an IPv6 source
    are hashed. `vips` ascend by address, IPv4 first, and `nodes` by name, so that the order in
    the file means nothing. `checks` are in the file's order.
    """

    name: str
    key_file: str
    port: int
    profile: Profile
    quorum: Quorum
    stop: Stop
    drain_timeout: int
    udp_watch: int
    udp_keep: int
    buckets: int
    hash_init: int
    vips: tuple[Vip, ...]
    nodes: tuple[Node, ...]
    checks: tuple[TcpCheck | HttpCheck | CommandCheck, ...] = ()
    source_prefix6: int = SOURCE_PREFIX6
    announce_count: int = announcement.COUNT
    announce_interval: int = announcement.INTERVAL
    status_group: str | None = None
    """Whose members may read the status socket; None for the usual group, if it is there."""

    def node(self, name: str) -> Node | None:
        """Return the node called `name`, None if there is none. Case does not count."""
        return next((node for node in self.nodes if node.name.lower() == name.lower()), None)

    def ipv6(self) -> bool:
        """Tell whether a VIP is an IPv6 address."""
        return any(isinstance(vip.address, IPv6Address) for vip in self.vips)

    def watch(self) -> int:
        """Return how long a bucket is watched before it moves, ns; 0 where only TCP is served."""
        services = (one for vip in self.vips for one in vip.services)
        served = (one for one in services if one.action is not ServiceAction.DROP)
        return self.udp_watch if any(one.protocol != TCP for one in served) else 0

    def servers(self) -> tuple[Node, ...]:
        """Return the nodes that answer packets: all but witnesses."""
        return tuple(node for node in self.nodes if not node.witness)


def voters(config: Config) -> tuple[str, ...]:
    """Return the names of the voters, sorted: all nodes, witnesses included."""
    return tuple(sorted(node.name for node in config.nodes))
