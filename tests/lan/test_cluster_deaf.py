"""A host that hears nobody: a port closed towards it, or its address wrong in the files.

The others share all buckets as if it were not there, in the time that a death takes, and everybody
is told who does not hear, and why that may be.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from clusterip.core.lease.timing import DEFAULT, SERVE_WITHIN
from clusterip.core.units import SECOND
from lab import traffic
from lab.cluster import BUCKETS, cluster_file
from lab.servers import HTTP_PORT, UDP_PORT, nginx
from lab.topology import VIP, lab
from lab.wait import eventually
from tests.lan.asked import Asked
from tests.lan.clusters import Site, in_time, patiently, site, watching
from tests.lan.drops import dropping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

PORT = 5407
LIMIT = SERVE_WITHIN["default"] / SECOND
MUTE = DEFAULT.promise(DEFAULT.lease) / SECOND
"""Seconds that a host which forgot its promises grants nothing."""
AWAITED = DEFAULT.promise(DEFAULT.restart) / SECOND + LIMIT
"""Seconds after which one of two, that starts and hears nothing, has gone on alone."""


def close_port(host: Host) -> None:
    """Have a host's firewall drop the daemons' messages that come in."""
    rules = (
        "add table inet closed",
        "add chain inet closed input { type filter hook input priority 0; }",
        f"add rule inet closed input udp dport {PORT} drop",
    )
    host.run("nft", "; ".join(rules))


def open_port(host: Host) -> None:
    host.run("nft", "delete table inet closed")


@contextlib.contextmanager
def hosts_of(count: int = 3, *, wrong: str = "") -> Iterator[Site]:
    """Build hosts; the first has the address `wrong` in the file, if any; no daemon runs yet."""
    with lab(count) as lan:
        for host in lan.hosts:
            nginx(host)
        file = cluster_file(lan)
        if wrong:
            file.write_text(file.read_text().replace(f'"{lan.hosts[0].address}"', f'"{wrong}"'))
        cluster = Asked(lan, file)
        try:
            yield Site(lan, cluster)
        finally:
            cluster.kill_all()


def answered_by_exactly_one(web: Site) -> None:
    """Assert that each client address and port gets one answer, of TCP and of UDP."""
    client = web.lan.client
    asked = traffic.flows(client, VIP, UDP_PORT, 4 * BUCKETS)
    answers = traffic.udp_answers(client, asked)
    assert [len(each) for each in answers] == [1] * len(asked), answers
    pages = traffic.web_answers(client, traffic.flows(client, VIP, HTTP_PORT, 4 * BUCKETS))
    assert all(pages), pages


def shared_by_the_others(web: Site, deaf: Host, within: float) -> None:
    """Wait until the others serve all of it, and leave nothing alone."""
    others = web.others(deaf)
    web.cluster.settled(others, within=within)

    def nothing_left() -> bool:
        return not any(web.cluster.status(host)["taking"] for host in others)

    eventually(nothing_left, within=within, what="all buckets to be owned")
    answered_by_exactly_one(web)


def named(web: Site, deaf: Host) -> None:
    """Wait until every host says who is deaf, and why that may be."""
    for host in web.others(deaf):
        eventually(lambda: web.cluster.status(host)["deaf"], what="an alarm")  # noqa: B023
        (cluster,) = host.show()["clusters"]
        (cause,) = cluster["deaf"].values()
        assert list(cluster["deaf"]) == [deaf.name]
        assert (cause["code"], cause["what"]) == ("deaf", f"{deaf.name} is heard, but hears nobody")
        assert cause["why"].startswith(f"is UDP port {PORT} open towards it")
        assert cluster["alarms"]["deaf"] >= 1
        said = " ".join(host.clusterip("show", check=False).stdout.split())
        assert f"{deaf.name} is heard, but hears nobody" in said
        heard = {node["name"]: node["hears"] for node in cluster["nodes"]}
        assert heard[deaf.name] == []
        assert heard[host.name] == [one.name for one in web.lan.hosts if one is not host]
        assert f"{deaf.name} is heard, but hears nobody" in web.cluster.daemon(host).output
    told = web.cluster.status(deaf)["deaf"]
    assert list(told) == [deaf.name]
    assert "this node hears nobody" in " ".join(deaf.clusterip("show", check=False).stdout.split())


@pytest.mark.parametrize("cause", ["closed", "wrong address"])
def test_deaf_from_the_start(cause: str) -> None:
    with hosts_of(wrong="10.9.0.250" if cause == "wrong address" else "") as web:
        deaf = web.lan.hosts[0]
        if cause == "closed":
            close_port(deaf)
        web.cluster.start_all()
        shared_by_the_others(web, deaf, within=15.0)
        named(web, deaf)
        if cause == "closed":
            open_port(deaf)
            web.cluster.settled()
            eventually(lambda: not web.cluster.status(deaf)["deaf"], what="the alarm to end")
            answered_by_exactly_one(web)


def test_deaf_while_another_restarts() -> None:
    with site() as web:
        deaf, second, _ = web.lan.hosts

        def scenario() -> None:
            held = web.cluster.settled()
            with watching(web, 200) as watch:
                close_port(deaf)
                web.cluster.settled(web.others(deaf))
            in_time("deaf: longest gap", max(watch.seen.silences(deaf).values()), LIMIT)
            assert set(watch.seen.silences(deaf)) == set(held[deaf.name])
            named(web, deaf)

            # Without the second there is no majority, until it is back and may vote.
            web.cluster.kill(second)
            web.cluster.start(second)
            began = time.monotonic()
            shared_by_the_others(web, deaf, within=15.0)
            in_time("served again", time.monotonic() - began, MUTE + 2 * LIMIT)

            # A planned restart needs no more than the other's word.
            with watching(web, 200) as watch:
                second.clusterip("restart")
                eventually(lambda: web.cluster.status(second)["started"], what="its answer")
                shared_by_the_others(web, deaf, within=15.0)
            watch.seen.nothing_broke()

            with watching(web, 200) as watch:
                open_port(deaf)
                web.cluster.settled()
            watch.seen.nothing_broke()

        try:
            patiently(web, scenario)
        finally:
            deaf.run("nft", "delete table inet closed", check=False)


def test_two_hosts_of_which_one_is_deaf() -> None:
    """It takes the other for dead, which hears that it serves, and so does not."""
    with hosts_of(2) as web:
        deaf, other = web.lan.hosts
        close_port(deaf)
        web.cluster.start_all()
        alone = web.cluster.settled([deaf], within=20.0)
        named(web, deaf)
        with watching(web, 200) as watch:
            web.cluster.kill(other)
            web.cluster.start(other)
            began = time.monotonic()
            # By then it would go on alone, if it heard nothing.
            eventually(lambda: time.monotonic() > began + AWAITED, within=2 * AWAITED)
            assert web.cluster.held() == alone
        watch.seen.nothing_broke()
        assert watch.seen.last_move == 0
        open_port(deaf)
        web.cluster.settled()


def test_the_second_of_two_hosts_is_deaf_when_it_is_back() -> None:
    """The one that served alone meanwhile hears it, and does so no longer."""
    with hosts_of(2) as web:
        other, deaf = web.lan.hosts
        web.cluster.start_all()
        web.cluster.settled()
        web.cluster.kill(deaf)
        web.cluster.settled([other])
        close_port(deaf)
        web.cluster.start(deaf)
        web.cluster.settled([deaf], within=20.0)
        for _ in range(3):
            answered_by_exactly_one(web)
        named(web, deaf)
        with watching(web, 60) as watch:
            deaf.clusterip("restart")
            web.cluster.settled([deaf])
        watch.seen.nothing_broke()
        open_port(deaf)
        web.cluster.settled()


def test_a_lost_answer_is_not_given_again_by_who_lost_the_bucket() -> None:
    """Its connections are half open, and it would send their SYN-ACKs again by itself."""
    with hosts_of() as web:
        web.cluster.start_all()
        web.cluster.settled()
        mute = web.lan.hosts[1]
        with watching(web, connections=30) as watch:
            with dropping(web.lan.switch, "bridge", "prerouting", f"iifname {mute.name}"):
                web.cluster.settled(web.others(mute))
            # The second of the SYN-ACKs that a host sends by itself comes 3 s after the SYN.
            time.sleep(3.5)
        assert watch.seen.syns.failed == []
