"""The other profiles: a host is gone, and its buckets are served within 0.3 s, or within 5 s."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from clusterip.core.lease.timing import PROFILES, SERVE_WITHIN
from clusterip.core.units import SECOND
from tests.lan.clusters import in_time, patiently, say, site, watching

if TYPE_CHECKING:
    from tests.lan.clusters import Site


@pytest.mark.parametrize("profile", ["fast", "relaxed"])
def test_served_again(profile: str) -> None:
    """What must hold on any machine is that nobody answers twice, and all is served at last.

    A daemon of profile fast must run every 170 ms. It has the processor before all that is not
    real-time; where it cannot have that, it may be late, and the time is not asserted.
    """
    with site(profile=profile) as web:
        patiently(web, lambda: gone(web, profile))


def gone(web: Site, profile: str) -> None:
    host = web.lan.hosts[1]
    web.cluster.settled(within=30.0)
    before = starved(web)
    with watching(web, 100, interval=0.005) as watch:
        host.run("ip", "link", "set", "eth0", "down")
        web.cluster.settled(web.others(host), within=30.0)
    host.run("ip", "link", "set", "eth0", "up")
    seen = watch.seen
    seen.only_broke(host)
    with watching(web, 100) as watch:
        # It counts as ready only when it has listened for a while.
        web.cluster.settled(within=PROFILES[profile].settle / SECOND + 15.0)
    watch.seen.nothing_broke()
    longest = max(seen.silences(host).values())
    late = starved(web) - before
    limit = SERVE_WITHIN[profile] / SECOND
    if late or not real_time(web):
        say(f"measured: {profile}: {longest:.3f} s, {late} times starved: not asserted")
        return
    in_time(f"{profile}: longest gap", longest, limit)


def starved(web: Site) -> int:
    """Return how often daemons ran so late that they said so."""
    return sum(web.cluster.status(host)["alarms"]["starved"] for host in web.cluster.hosts)


def real_time(web: Site) -> bool:
    """Whether the daemons were given the priority that they ask for."""
    pids = [web.cluster.daemon(host).pid for host in web.cluster.hosts]
    return all(os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR for pid in pids)


def test_fast_keeps_its_leases_while_nothing_happens() -> None:
    with site(profile="fast") as web:

        def scenario() -> None:
            held = web.cluster.settled()
            with watching(web, 100) as watch:
                time.sleep(3)
            assert watch.seen.syns.failed == []
            in_time("fast, at rest: longest gap", watch.seen.gaps.longest, 0.3)
            assert web.cluster.settled() == held or starved(web)

        patiently(web, scenario)
