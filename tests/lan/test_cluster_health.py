"""A server that is down, on one host or on all; a host whose configuration is another one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from lab.cluster import BUCKETS, cluster_file
from lab.servers import nginx
from lab.topology import VIP
from lab.wait import eventually
from lab.wrk import Wrk
from tests.lan.clusters import (
    UNNOTICED,
    Site,
    blaming_the_machine,
    in_time,
    patiently,
    say,
    site,
    watching,
)
from tests.second_tries import twice_at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.processes import Process
    from lab.topology import Host

INTERVAL, FALL = 0.1, 2
NOTICED = FALL * INTERVAL + 0.3
"""How long a dead server's buckets may refuse: until the check failed often enough, and the move.

The check itself takes nothing, for what is not there refuses at once.
"""


@pytest.fixture
def web() -> Iterator[Site]:
    checks = [{"type": "http", "port": 80, "interval": "100ms", "timeout": "100ms", "fall": FALL}]
    with site(checks=checks) as made:
        yield made


def servers(host: Host) -> list[Process]:
    """Return what runs nginx on a host."""
    return [one for one in host._started if "nginx" in one.command and one.running]


def served(host: Host) -> int:
    """Return how many connections the web server of a host has closed of late."""
    told = host.run("ss", "-Htn", "state", "time-wait", "sport", "=", ":80").stdout
    return len(told.splitlines())


def stop_server(host: Host) -> None:
    for one in servers(host):
        one.stop()


def test_servers_that_are_down(web: Site) -> None:
    host = web.lan.hosts[2]
    patiently(web, lambda: one_down(web, host))
    patiently(web, lambda: all_down(web))


def one_down(web: Site, host: Host) -> None:
    """Its buckets go to the others as soon as the check has failed often enough.

    Connections to the dead server are reset or refused by its host until then, so clients that
    try again are served; nobody else's connections break.
    """
    web.cluster.settled()
    with watching(web) as watch:
        load = Wrk(web.lan.client, VIP, 4, connections=12, keepalive=False)
        # It gives up if its very first connection is refused.
        eventually(lambda: served(host) > 50, what="wrk to be under way")
        stop_server(host)
        web.cluster.settled(web.others(host))
        assert not web.node(web.lan.hosts[0], host)["healthy"]
        (check,) = web.cluster.status(host)["checks"]
        assert not check["good"]
        report = load.result()
    seen = watch.seen
    seen.only_broke(host)
    refused = [one for one in seen.syns.attempts if one.failure]
    assert {one.failure for one in refused} <= {"ECONNREFUSED", "ECONNRESET"}
    assert set(seen.silences(host)) >= {one.bucket for one in refused}
    moments = [one.at for one in refused]
    longest = max(seen.silences(host).values())
    with watching(web) as watch:
        nginx(host, http=(80, 8080))
        web.cluster.settled()
        assert web.node(web.lan.hosts[0], host)["healthy"]
    watch.seen.nothing_broke()
    say(f"measured: dead server: {report.requests} requests, {report.errors} failed")
    assert report.timeout == report.not_2xx == 0
    in_time("dead server: longest gap", longest, NOTICED)
    in_time("dead server: time of refusals", max(moments) - min(moments), NOTICED)
    in_time("server again: longest gap", watch.seen.gaps.longest, UNNOTICED)


def all_down(web: Site) -> None:
    """Nothing healthy anywhere: keep serving, for a wrong check must not take the site down."""
    held = web.cluster.settled()
    for host in web.lan.hosts:
        stop_server(host)
    for host in web.lan.hosts:
        eventually(lambda: not web.cluster.status(host)["healthy"], what="the checks to fail")  # noqa: B023
    now = eventually(lambda: whole(web), what="all buckets to be held")
    assert sorted(now) == sorted(held)
    refusals = {one.name: refused(web) for one in web.lan.hosts}
    assert any(refusals.values())  # by the hosts, which serve: there is nobody behind the port
    for host in web.lan.hosts:
        nginx(host)
    web.cluster.settled()
    with watching(web) as watch:
        pass
    watch.seen.nothing_broke()


def whole(web: Site) -> dict[str, list[int]]:
    """Return who holds what, once every bucket is held once."""
    held = web.cluster.held()
    return held if sorted(itertools.chain(*held.values())) == list(range(1, BUCKETS + 1)) else {}


def refused(web: Site) -> bool:
    done = web.lan.client.run("curl", "-s", "-m", "1", f"http://{VIP}/", check=False)
    return done.returncode == 7  # could not connect; a time-out would be 28


def test_another_configuration() -> None:
    """A host whose file has another hash_init starts: it does not serve, and the others go on."""
    twice_at_most(another_configuration)


def another_configuration() -> None:
    with site(started=[1, 2]) as web, blaming_the_machine(web):
        first, second, third = web.lan.hosts
        other = cluster_file(web.lan, name="other.toml", hash_init=4711)
        held = web.cluster.settled([first, second])
        with watching(web) as watch:
            web.cluster.file, ours = other, web.cluster.file
            web.cluster.start(third)
            eventually(
                lambda: (
                    not web.node(third, first)["agrees"] and not web.node(first, third)["agrees"]
                ),
                what="both sides to see it",
            )
            # It may have listened and waited as long as it likes: it gets nothing.
            with pytest.raises(TimeoutError):
                eventually(lambda: web.cluster.status(third)["held"], within=7.0)
            for host, about in ((first, third), (second, third), (third, first), (third, second)):
                assert (
                    f"{about.name} has another configuration"
                    in host.clusterip("show", check=False).stdout
                )
                assert web.cluster.status(host)["alarms"]["mismatch"] > 0
                assert web.cluster.status(host)["messages"]["received"]["mismatch"] > 0
            assert web.cluster.held([first, second]) == held
        watch.seen.nothing_broke()
        assert watch.seen.last_move == 0
        in_time("another configuration: longest gap", watch.seen.gaps.longest, UNNOTICED)

        web.cluster.stop(third)
        web.cluster.file = ours
        web.cluster.start(third)
        web.cluster.settled()
        assert web.node(first, third)["agrees"]
