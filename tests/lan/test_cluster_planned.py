"""What is planned breaks nothing: drains, weights, restarts, new keys, a stop, a start.

Meanwhile 1,000 connections live, wrk runs, somebody downloads, and somebody is logged in on each
host. No connection may break, no request may fail, and no bucket may fall silent for 0.2 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from lab.wait import eventually
from tests.lan.clusters import (
    UNNOTICED,
    Seen,
    Site,
    SshSession,
    all_go_on,
    download_bytes,
    download_from,
    in_time,
    load_with_wrk,
    patiently,
    say,
    site,
    ssh_session_at,
    sshd,
    watching,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.topology import Host

CONNECTIONS = 1000
SECONDS = 4  # of the download: longer than most of these moves take
LONGEST = 60  # of wrk, which ends when the move and the download have


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(stop="drain") as made:
        sshd(made.lan)
        yield made


@pytest.fixture(scope="module")
def sessions(web: Site) -> list[SshSession]:
    """Somebody logged in on each host, from before the first test to the last."""
    return [ssh_session_at(web, host) for host in web.lan.hosts]


def unnoticed(
    web: Site, sessions: list[SshSession], what: str, giver: Host, move: Callable[[], object]
) -> Seen:
    """Make a move under all loads; `giver` serves the download. Assert that nobody noticed."""
    with watching(web, CONNECTIONS) as watch:
        assert watch.at.total() == CONNECTIONS
        download = download_from(web, giver, SECONDS)
        load = load_with_wrk(web, LONGEST)
        move()
        all_go_on(sessions)
        download.wait_output(f"206 {download_bytes(SECONDS)}", within=20.0)
        report = load.finish()
        ended = time.monotonic()
    seen = watch.seen
    seen.nothing_broke()
    assert len(seen.load.connections) == CONNECTIONS
    assert report.errors == 0, report.output
    assert report.requests > 500, report.output
    say(f"measured: {what}: {report.requests} requests, slowest SYN {seen.slowest_syn:.3f} s")
    assert seen.last_move < ended, f"{what}: wrk ended before the last bucket moved"
    in_time(f"{what}: longest gap", seen.gaps.longest, UNNOTICED)
    return seen


def test_drain_and_undrain(web: Site, sessions: list[SshSession]) -> None:
    host = web.lan.hosts[1]

    def drain() -> None:
        host.clusterip("drain")
        web.cluster.settled(web.others(host))

    def undrain() -> None:
        web.lan.hosts[0].clusterip("undrain", host.name)
        web.cluster.settled()

    def there_and_back() -> None:
        try:
            seen = unnoticed(web, sessions, "drain", host, drain)
        finally:
            if web.node(host, host)["leaving"]:
                done = unnoticed(web, sessions, "undrain", web.lan.hosts[0], undrain)
        assert host.name not in seen.gaps.owners.values()
        assert host.name in done.gaps.owners.values()

    patiently(web, there_and_back)


def test_weight(web: Site, sessions: list[SshSession]) -> None:
    heavy, light = web.lan.hosts[2], web.lan.hosts[1]

    def change() -> None:
        heavy.clusterip("weight", "200")
        heavy.clusterip("weight", "50", light.name)
        web.cluster.settled(weights={heavy.name: 200, light.name: 50})

    def back() -> None:
        heavy.clusterip("weight", "100")
        light.clusterip("weight", "100")
        web.cluster.settled()

    patiently(web, lambda: unnoticed(web, sessions, "weight", light, change))
    patiently(web, lambda: unnoticed(web, sessions, "weight back", heavy, back))


def test_restart_of_each_daemon(web: Site, sessions: list[SshSession]) -> None:
    def restart() -> None:
        for host in web.lan.hosts:
            before = web.cluster.status(host)
            host.clusterip("restart")
            after = web.cluster.status(host)
            assert after["boot"] == before["boot"]
            assert after["held"] == before["held"]
            assert after["started"] > before["started"]

    patiently(web, lambda: unnoticed(web, sessions, "restart", web.lan.hosts[2], restart))


def test_a_new_key(web: Site, sessions: list[SshSession]) -> None:
    first = web.lan.hosts[0]
    file = web.lan.directory / "cluster.key"

    def step(*arguments: str) -> str:
        told = first.clusterip("keygen", *arguments, str(file), "--json").stdout
        for host in web.lan.hosts:
            host.clusterip("reload")
            with contextlib.suppress(TimeoutError):  # every message meanwhile must count
                eventually(lambda: web.cluster.held() != held, within=0.2)
        return str(json.loads(told)["id"])

    def rotate() -> None:
        old = file.read_text().rpartition("\n")[0].rpartition("\n")[2].partition(":")[0]
        new = step("--add")
        step("--use", new)
        step("--drop", old)
        assert f"\n{old}:" not in f"\n{file.read_text()}"

    held = web.cluster.held()
    patiently(web, lambda: unnoticed(web, sessions, "new key", first, rotate))
    assert web.cluster.held() == held
    for host in web.lan.hosts:
        assert set(web.cluster.status(host)["messages"]["received"]) <= {
            "accepted",
            "unproven",
            "replayed",
            "own",  # what nobody heard goes to everybody
        }


def test_a_stop_that_drains_first_and_a_start(web: Site, sessions: list[SshSession]) -> None:
    """SIGTERM; the daemon ends when the last connection here has."""
    host = web.lan.hosts[0]

    def stop() -> None:
        os.kill(web.cluster.daemon(host).pid, signal.SIGTERM)
        web.cluster.settled(web.others(host))

    def end() -> None:
        # wrk, the download and the 1,000 are gone, the one who is logged in is not.
        daemon = web.cluster.daemon(host)
        mine = next(session for session in sessions if session.host == host.name)
        eventually(lambda: len(web.cluster.status(host)["draining"]) == 1, what="one bucket left")
        assert daemon.running
        all_go_on([mine])
        mine.end()
        sessions.remove(mine)
        eventually(lambda: not daemon.running, what="the daemon to end after the last connection")
        assert daemon.stop() == 0
        assert not host.pins.exists()

    def start() -> None:
        web.cluster.start(host)
        web.cluster.settled()

    def stop_and_start() -> None:
        if not any(session.host == host.name for session in sessions):
            sessions.append(ssh_session_at(web, host))
        try:
            unnoticed(web, sessions, "stop", host, stop)
        finally:
            end()
            unnoticed(web, sessions, "start", web.lan.hosts[1], start)

    patiently(web, stop_and_start)
