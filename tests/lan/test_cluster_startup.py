"""Daemons killed as they start, and a clean stop, which leaves nothing behind."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.lan.clusters import COOKIES, UNNOTICED, Site, in_time, patiently, say, site, watching
from tests.lan.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

LEFT = {"lock", "control", "note", "voters"}
"""What stays of a cluster in /run, less than a page: what the next start must know of this one,
and a lock and a socket that are nobody's by then."""
MOMENTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.9, 1.2, 2.0)


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(booted=True) as made:
        yield made


def run_for(web: Site, host: Host, seconds: float) -> None:
    """Start the daemon of a host, and kill it after that time."""
    command = ("run", "--config", str(web.cluster.file), "--node", host.name)
    daemon = host.start("clusterip", *command)
    time.sleep(seconds)
    daemon.stop(signal.SIGKILL)


def test_killed_at_any_moment_of_its_start(web: Site) -> None:
    """Whatever a start left half done, the next one ends serving; and the others never notice."""
    host = web.lan.hosts[2]

    def scenario() -> None:
        web.cluster.settled()
        web.cluster.kill(host)
        web.cluster.settled()
        with watching(web, 200) as watch:
            for seconds in MOMENTS:
                run_for(web, host, seconds)
            web.cluster.settled()
            seen = watch.stop()
        seen.nothing_broke()
        in_time("starts that are killed: longest gap", seen.gaps.longest, UNNOTICED)
        began = time.monotonic()
        with watching(web, 200) as watch:
            web.cluster.start(host)
            web.cluster.settled()
        say(f"measured: start after these: {time.monotonic() - began:.1f} s")
        watch.seen.nothing_broke()

    patiently(web, scenario)


def test_a_clean_stop_leaves_nothing_but_a_note(web: Site) -> None:
    web.cluster.settled()
    for host in web.lan.hosts:
        assert host.pins.exists()
    web.cluster.stop_all()
    for host in web.lan.hosts:
        assert web.cluster.daemon(host).stop() == 0
        assert not host.pins.exists()
        left = traces(host)
        assert left.addresses == {f"{host.address}/16"}
        assert (left.macs, left.pins, left.xdp) == (frozenset(), frozenset(), False)
        assert "clsact" not in left.qdiscs
        assert left.ingress == left.egress == ""
        folder = COOKIES / str(host.cookie) / "web"
        assert {one.name for one in folder.iterdir()} == LEFT
        assert sum(one.stat().st_size for one in folder.iterdir()) < 4096
        shown = host.show()
        assert (shown["interfaces"], shown["clusters"]) == ([], []), shown


def test_a_start_after_a_clean_stop(web: Site) -> None:
    web.cluster.start_all()
    began = time.monotonic()
    web.cluster.settled()
    say(f"measured: serving {time.monotonic() - began:.1f} s after a clean stop")
    with watching(web, 50) as watch:
        pass
    watch.seen.nothing_broke()
