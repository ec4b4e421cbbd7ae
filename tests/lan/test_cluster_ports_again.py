"""Clients use their ports again while daemons move buckets: each new connection has one host.

As test_ports_again.py, but what drains, takes, gives back and dies are daemons. Old connections
are those that the server closed first, those that the client did, and those whose client died
without a word: its sockets stand until somebody answers for them. IPv4 and IPv6 side by side.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.cluster import cluster_file
from lab.servers import HTTP_PORT, nginx
from lab.topology import VIP, lab
from lab.traffic import Flow
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.clusters import Site, say
from tests.lan.reuse import (
    close,
    die,
    number,
    only,
    opened,
    read,
    read_to_the_end,
    sockets,
    to_each_bucket,
)
from tests.lan.test_ipv6 import VIP6, with_ipv6
from tests.lan.test_refusals import attach_foreign_xdp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.topology import Host

KINDS = ("server first", "client first", "client died")
Kinds = dict[str, list[Flow]]


@pytest.fixture(scope="module", params=["tc", "xdp"])
def web(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Three hosts that share two VIPs, and their client."""
    with lab() as lan:
        with_ipv6(lan)
        lan.client.call(lambda: Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("1"))
        for host in lan.hosts:
            nginx(host)
            if request.param == "tc":
                attach_foreign_xdp(host)
        cluster = Asked(lan, cluster_file(lan, vips=(VIP, VIP6)))
        cluster.start_all()
        cluster.settled(within=30.0)
        (interface,) = lan.hosts[0].show()["interfaces"]
        assert interface["xdp"]["attached"] == (request.param == "xdp")
        try:
            yield Site(lan, cluster)
        finally:
            cluster.kill_all()
            for log in sorted(lan.directory.glob("h*-clusterip.log")):
                say(f"---- {log.name}\n{log.read_text()}")


def flows(web: Site) -> Kinds:
    """Return a flow to each bucket of each VIP, for each kind."""
    return {
        kind: [one for vip in (VIP, VIP6) for one in to_each_bucket(web.lan.client, vip, HTTP_PORT)]
        for kind in KINDS
    }


def holders(some: Sequence[Flow], held: dict[str, list[int]]) -> dict[Flow, str]:
    """Return whose each flow is, where hosts hold these buckets."""
    of = {one: name for name, buckets in held.items() for one in buckets}
    return {flow: of[number(flow)] for flow in some}


def used(web: Site, kinds: Kinds, held: dict[str, list[int]]) -> None:
    """Have a connection from each end, and end it: who holds the bucket answers, nobody else."""
    lan, every = web.lan, list(itertools.chain.from_iterable(kinds.values()))
    with only(lan, holders(every, held)):
        connections = {kind: opened(lan, some) for kind, some in kinds.items()}
        read_to_the_end(connections["server first"])
        close(lan, connections["server first"], kinds["server first"])
        read(connections["client first"])
        for one in connections["client first"]:
            one.close()
        read(connections["client died"])
        die(connections["client died"])
    first = kinds["client first"]
    eventually(lambda: sockets(lan.client, "time-wait", first) == len(first))
    waiting = sum(sockets(host, "time-wait", kinds["server first"]) for host in lan.hosts)
    assert waiting >= len(kinds["server first"])


def reloaded(web: Site, **settings: str) -> None:
    """Have all daemons take up settings in place of those before."""
    web.write(web.lan.hosts, vips=(VIP, VIP6), **settings)
    web.lan.on_hosts(lambda host: host.clusterip("reload"))


def drained(web: Site, host: Host) -> dict[str, list[int]]:
    """Drain a host, and return who holds what then."""
    host.clusterip("drain")
    return web.cluster.settled(web.others(host))


def given_back(web: Site, host: Host) -> dict[str, list[int]]:
    host.clusterip("undrain")
    return web.cluster.settled()


def test_drains_and_buckets_that_are_given_back(web: Site) -> None:
    host, kinds = web.lan.hosts[0], flows(web)
    used(web, kinds, web.cluster.settled())
    held = drained(web, host)
    used(web, kinds, held)
    assert web.cluster.status(host)["draining"], "the clients that died let it drain on"
    used(web, kinds, given_back(web, host))
    # All hosts have old sockets of all kinds by now; and those of the first drain again.
    used(web, kinds, drained(web, host))
    given_back(web, host)


def live_elsewhere(web: Site, host: Host, some: Sequence[Flow]) -> None:
    """Have connections by the ends of old ones, some of a host's, which takes all buckets then."""
    lan, others = web.lan, web.others(host)
    live, held = opened(lan, some), web.cluster.held(others)
    assert sockets(host, "established", some), "it has old ones"
    if not web.cluster.running(host):
        web.cluster.start(host)
        web.cluster.settled()
    for other in others:
        other.clusterip("drain")
    web.cluster.settled([host])
    with only(lan, holders(some, held)):
        read(live)
        read_to_the_end(live)
        close(lan, live, some)
    for other in others:
        other.clusterip("undrain")
    web.cluster.settled()


def test_a_host_takes_again_what_it_once_gave_up_with_connections(web: Site) -> None:
    """Its drain was cut short, so their sockets are there yet; meanwhile it saw SYNs only."""
    host, kinds = web.lan.hosts[0], flows(web)
    others = web.others(host)
    for other in others:
        other.clusterip("drain")
    used(web, kinds, web.cluster.settled([host]))
    reloaded(web, drain_timeout="1s")
    for other in others:
        other.clusterip("undrain")
    held = web.cluster.settled()
    eventually(lambda: not web.cluster.status(host)["draining"], what="the drain to be cut short")
    reloaded(web)  # else the others would drain as short a time
    away = [one for one in kinds["client died"] if number(one) not in held[host.name]]

    live_elsewhere(web, host, away)


def test_a_host_takes_again_what_it_had_when_its_daemon_died(web: Site) -> None:
    host, kinds = web.lan.hosts[0], flows(web)
    used(web, kinds, web.cluster.settled())
    web.cluster.kill(host)
    web.cluster.settled()
    live_elsewhere(web, host, kinds["client died"])
