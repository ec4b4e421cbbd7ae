"""Ways to discard what is another host's, each on one host that has one share of three, or none.

All are put on the same kernel and the same kind of veth pair, each on a pair of its own, so that
what one leaves behind costs no other.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from bench.peers import nft_jhash, xt_cluster
from clusterip.adapters import libbpf
from lab.offloads import set_offload
from lab.servers import HTTP_PORT, nginx
from lab.topology import CLUSTER_MAC, VIP, pair
from lab.wrk import wrk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.processes import Process
    from lab.topology import Host, Node, Pair
    from lab.wrk import WrkReport

SHARES: Final = 3
BUILT: Final = Path(__file__).parents[1] / "build"
BARE: Final = "bare XDP_DROP"
PASS: Final = "bare XDP_PASS"
NONE: Final = "no filter"
XDP: Final = "clusterip xdp"
TC: Final = "clusterip tc"


_PATIENCE: Final = 0.5  # seconds; a SYN that is discarded is not answered at all


class Filter(Protocol):
    """One way. `name` is what tables call it."""

    name: str

    def put(self, host: Host, share: int | None) -> None:
        """Have the host answer for one share, 0..2, or for none; in place of what was put."""


class NoFilter:
    """The host answers everything."""

    name = NONE

    def put(self, host: Host, share: int | None) -> None:
        """Do nothing."""


class Bare:
    """A program of one statement: `return XDP_DROP`, or `return XDP_PASS`: what any has to pay."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._program = {BARE: "bench_drop", PASS: "bench_pass"}[name]

    def put(self, host: Host, share: int | None) -> None:
        """Attach it."""
        if share is not None and self.name == BARE:
            raise ValueError("it answers nothing")
        host.call(lambda: libbpf.xdp_attach(interface(), programs().program_fd(self._program)))


class Ours:
    """Our rule, from our command, with XDP or without."""

    def __init__(self, *, xdp: bool) -> None:
        self.name = XDP if xdp else TC
        self._mode = "require" if xdp else "off"

    def put(self, host: Host, share: int | None) -> None:
        """Add the rule."""
        host.clusterip("flush")
        node = 0 if share is None else share + 1
        host.clusterip(
            *("iptables", "-A", "INPUT", "-d", VIP, "-i", "eth0", "-j", "CLUSTERIP", "--new"),
            *("--hashmode", "sourceip", "--clustermac", CLUSTER_MAC, "--xdp", self._mode),
            *("--total-nodes", str(SHARES), "--local-node", str(node)),
        )


class XtCluster:
    """`iptables -m cluster` as in iptables-extensions(8)."""

    name = "xt_cluster"

    def put(self, host: Host, share: int | None) -> None:
        """Put the rules in."""
        host.run("iptables", "-t", "mangle", "-F", "PREROUTING")
        xt_cluster(host, () if share is None else (share,))


class NftJhash:
    """A hash of the source in nftables: prerouting as in IPaddr2 of 2026, or at netdev ingress."""

    def __init__(self, *, ingress: bool) -> None:
        self.name = "nft ingress jhash" if ingress else "nft jhash"
        self._hook = "ingress device eth0 priority 0" if ingress else "prerouting priority -300"

    def put(self, host: Host, share: int | None) -> None:
        """Put the table in."""
        nft_jhash(host, () if share is None else (share,), self._hook)


def peer_filters() -> list[Filter]:
    """Return all but ours."""
    return [XtCluster(), NftJhash(ingress=False), NftJhash(ingress=True)]


def our_filters() -> list[Filter]:
    """Return ours."""
    return [Ours(xdp=True), Ours(xdp=False)]


@cache
def programs() -> libbpf.Object:
    """Return the programs of packets.bpf.c, loaded; RuntimeError if they were not compiled."""
    return libbpf.Object(compiled("packets"))


def compiled(name: str) -> bytes:
    """Return the object of bench/`name`.bpf.c; RuntimeError if it was not compiled."""
    path = BUILT / f"{name}.bpf.o"
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RuntimeError(f"{path} is missing: run the benchmarks by `make bench`") from error


def interface() -> int:
    """Return the index of `eth0` in the network namespace of the caller."""
    return socket.if_nametoindex("eth0")


@dataclass(frozen=True)
class Place:
    """A host with a filter, and a client at the other end of its cable."""

    filter: Filter
    pair: Pair
    servers: list[Process] = field(default_factory=list)

    @property
    def host(self) -> Host:
        """The host."""
        return self.pair.host

    @property
    def mac(self) -> str:
        """What the client sends the VIP's packets to: TCP answers nothing that is multicast."""
        return self.host.mac if self.filter.name in (NONE, PASS) else CLUSTER_MAC

    def seen(self) -> Seen:
        """Return what came to the host so far."""
        return Seen(_received(self.host), _delivered(self.host))


@dataclass(frozen=True)
class Seen:
    """Frames that came to the interface, and packets that the stack gave to TCP, UDP and others.

    Counted by Linux for its own use, so no filter pays for it.
    """

    frames: int
    delivered: int

    def since(self, before: Seen) -> Seen:
        """Return what came since then."""
        return Seen(self.frames - before.frames, self.delivered - before.delivered)


@contextlib.contextmanager
def places(filters: Iterable[Filter]) -> Iterator[list[Place]]:
    """Make a place for each filter, nothing put there yet.

    Segments are not merged by the sender in any of them, for XDP on a veth switches that off;
    frames are taken in by NAPI in all of them, which only GRO makes a veth do where it has no XDP.
    """
    with contextlib.ExitStack() as stack:
        made = [Place(one, stack.enter_context(pair())) for one in filters]
        for place in made:
            for node in place.pair.nodes:
                for name, on in (("tso", False), ("gso", False), ("gro", True)):
                    set_offload(node, name, on=on)
            place.host.add_address(VIP)
            place.host.run("ip", "maddress", "add", CLUSTER_MAC, "dev", "eth0")
            # Answers to what a flood says it comes from.
            place.host.run("ip", "route", "add", "default", "via", place.pair.client.address)
            neighbour = ("ip", "neighbour", "replace", VIP, "lladdr", place.mac)
            place.pair.client.run(*neighbour, "dev", "eth0", "nud", "permanent")
        yield made


def serve(place: Place) -> None:
    """Start nginx, and have the host answer for whichever share the client falls to."""
    place.servers.append(nginx(place.host))
    for share in range(SHARES):
        place.filter.put(place.host, share)
        if _answers(place):
            return
    raise RuntimeError(f"{place.filter.name}: the client has no answer, whatever the share")


def in_turn(every: list[Place], number: int) -> list[Place]:
    """Return the places in an order of that round's own: none is always the first."""
    first = number % len(every)
    return every[first:] + every[:first]


def ask(place: Place, seconds: int, **options: Any) -> tuple[WrkReport, float]:
    """Run wrk; returns what it counted, and the processor time of both sides in seconds.

    RuntimeError where a request failed, or none was made.
    """
    before = _spent(place)
    report = wrk(place.pair.client, VIP, seconds, **options)
    if report.errors or not report.requests:
        raise RuntimeError(f"{place.filter.name}: {report.output}")
    return report, _spent(place) - before


def _spent(place: Place) -> float:
    """Return the processor time so far of the servers, and of what we started and has ended.

    With it comes that of the network: who sends a packet over a veth does the receiver's work.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    stats = (Path(f"/proc/{server.pid}/schedstat").read_text() for server in place.servers)
    servers = sum(int(stat.split()[0]) for stat in stats) / 1e9
    return children.ru_utime + children.ru_stime + servers


def _answers(place: Place) -> bool:
    def connects() -> bool:
        with socket.socket() as one:
            one.settimeout(_PATIENCE)
            return one.connect_ex((VIP, HTTP_PORT)) == 0

    return place.pair.client.call(connects)


def _received(node: Node) -> int:
    table = node.call(lambda: Path("/proc/thread-self/net/dev").read_text())
    (line,) = (one for one in table.splitlines() if one.strip().startswith("eth0:"))
    return int(line.split()[2])


def _delivered(node: Node) -> int:
    table = node.call(lambda: Path("/proc/thread-self/net/snmp").read_text())
    names, values = (one.split() for one in table.splitlines() if one.startswith("Ip:"))
    return int(values[names.index("InDelivers")])


def own_processor() -> None:
    """Keep the calling thread on the last processor; the first one has the interrupts."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
