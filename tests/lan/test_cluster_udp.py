"""UDP while buckets move: a flow stays on the host where it began, and is answered once."""

from __future__ import annotations

import itertools
import time
from collections import Counter

from lab.cluster import BUCKETS
from lab.gaps import GapReport, Gaps, Hashing
from lab.topology import CLIENT_PORTS, VIP
from lab.wait import eventually
from tests.lan.clusters import Site, site

FLOWS = 1000


def many_flows(where: Site) -> list[tuple[int, str, int]]:
    """Return flows from all addresses of the client; their buckets do not matter."""
    addresses = where.lan.client.addresses
    ports = (CLIENT_PORTS[10 + n] for n in itertools.count())
    return [
        (1 + number % BUCKETS, addresses[number % len(addresses)], next(ports))
        for number in range(FLOWS)
    ]


def holds(where: Site, number: int, *, nothing: bool) -> None:
    """Wait until a host has given all its buckets away, or has its share again."""
    host = where.lan.hosts[number]

    def as_wanted() -> bool:
        held = where.cluster.status(host)["held"]
        return not held if nothing else len(held) >= BUCKETS // 3

    eventually(as_wanted, within=15.0, what=f"{host.name} to hold nothing: {nothing}")


def through_drain_and_rejoin(watch: str) -> GapReport:
    with site(udp_watch=watch, udp_keep="40s") as where:
        host = where.lan.hosts[1]
        flows = Gaps(where.lan.client, VIP, Hashing(), interval=0.8, flows=many_flows(where))
        time.sleep(2.0)  # each flow is to have begun
        host.clusterip("drain", host.name)
        holds(where, 1, nothing=True)
        time.sleep(2.0)  # what is asked and answered meanwhile is what this is about
        host.clusterip("undrain", host.name)
        holds(where, 1, nothing=False)
        time.sleep(2.0)
        return flows.stop()


def test_flows_stay_where_they_began() -> None:
    seen = through_drain_and_rejoin("1500ms")
    began = Counter(stream.hosts[0] for stream in seen.streams)
    assert min(began.values()) > FLOWS / 5, began
    assert seen.excess == 0
    assert [one.order for one in seen.streams if len(set(one.hosts)) > 1] == []
    lost = sum(stream.unanswered for stream in seen.streams)
    assert lost <= sum(stream.sent for stream in seen.streams) / 1000


def test_without_watching_they_move() -> None:
    seen = through_drain_and_rejoin("0s")
    assert seen.excess == 0
    moved = sum(len(set(stream.hosts)) > 1 for stream in seen.streams)
    assert moved > FLOWS / 5


def test_in_the_end_they_move() -> None:
    with site(udp_watch="1s", udp_keep="3s") as where:
        host = where.lan.hosts[1]
        flows = Gaps(where.lan.client, VIP, Hashing(), interval=0.5, flows=many_flows(where)[:200])
        time.sleep(1.5)
        # Waits until nothing of the host is used any more: the time flows are kept included.
        host.clusterip("drain", "--wait", host.name)
        time.sleep(1.0)
        seen = flows.stop()
    assert seen.excess == 0
    assert {stream.hosts[-1] for stream in seen.streams} == {
        one.name for one in where.lan.hosts if one is not host
    }
    moved = [stream for stream in seen.streams if stream.hosts[0] == host.name]
    assert moved
    for stream in moved:
        assert stream.order[0][1] == host.name
        assert len(stream.order) == 2, stream.order
