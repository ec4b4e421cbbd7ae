"""Ways to discard what is another host's, each on one host that has one share of three, or none.

All are put on the same kernel and the same kind of veth pair, each on a pair of its own, so that
what one leaves behind costs no other.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from bench.peers import nft_jhash, xt_cluster
from clusterip.adapters import libbpf
from lab.offloads import set_offload
from lab.topology import CLUSTER_MAC, VIP, pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.topology import Host, Node, Pair

SHARES: Final = 3
OBJECT: Final = Path(__file__).parents[1] / "build" / "packets.bpf.o"
BARE: Final = "bare XDP_DROP"
NONE: Final = "no filter"
XDP: Final = "clusterip xdp"
TC: Final = "clusterip tc"


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


class BareDrop:
    """A program that is only `return XDP_DROP`: the limit of what can be had."""

    name = BARE

    def put(self, host: Host, share: int | None) -> None:
        """Attach it."""
        if share is not None:
            raise ValueError("it answers nothing")
        host.call(lambda: libbpf.xdp_attach(interface(), programs().program_fd("bench_drop")))


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
    try:
        return libbpf.Object(OBJECT.read_bytes())
    except FileNotFoundError as error:
        raise RuntimeError(f"{OBJECT} is missing: run the benchmarks by `make bench`") from error


def interface() -> int:
    """Return the index of `eth0` in the network namespace of the caller."""
    return socket.if_nametoindex("eth0")


@dataclass(frozen=True)
class Place:
    """A host with a filter, and a client at the other end of its cable."""

    filter: Filter
    pair: Pair

    @property
    def host(self) -> Host:
        """The host."""
        return self.pair.host

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
def places(filters: Iterable[Filter], mac: str = "") -> Iterator[list[Place]]:
    """Make a place for each filter, nothing put there yet.

    The client sends the VIP's packets to `mac`, by default the cluster MAC. Segments are not
    merged by the sender in any of them, for XDP on a veth switches that off; frames are taken in
    by NAPI in all of them, which only GRO makes a veth do where it has no XDP.
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
            neighbour = ("ip", "neighbour", "replace", VIP, "lladdr", mac or CLUSTER_MAC)
            place.pair.client.run(*neighbour, "dev", "eth0", "nud", "permanent")
        yield made


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
