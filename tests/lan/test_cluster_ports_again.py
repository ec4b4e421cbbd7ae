"""Clients use their ports again while daemons move buckets: each new connection has one host.

As test_ports_again.py, but what drains, takes, gives back and dies are daemons. Old connections
are those that the server closed first, those that the client did, and those whose client died
without a word: its sockets stand until somebody answers for them. IPv4 and IPv6 side by side.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from lab.traffic import Flow
from lab.wait import eventually
from tests.lan.both_versions import VIPS, drained, given_back, holders, site_of_both, to_all
from tests.lan.reuse import close, die, number, only, opened, read, read_to_the_end, sockets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.topology import Host
    from tests.lan.clusters import Site

KINDS = ("server first", "client first", "client died")
Kinds = dict[str, list[Flow]]


@pytest.fixture(scope="module", params=["tc", "xdp"])
def web(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site_of_both(xdp=request.param == "xdp") as made:
        yield made


def flows(web: Site) -> Kinds:
    """Return a flow to each bucket of each VIP, for each kind."""
    return {kind: to_all(web) for kind in KINDS}


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
    web.write(web.lan.hosts, vips=VIPS, **settings)
    web.lan.on_hosts(lambda host: host.clusterip("reload"))


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
