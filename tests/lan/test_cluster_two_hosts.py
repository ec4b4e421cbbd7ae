"""Two hosts: neither knows whether the other died, unless somebody else votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.lease.timing import DEFAULT, SERVE_WITHIN
from clusterip.core.units import SECOND
from lab import traffic
from lab.cluster import BUCKETS
from lab.servers import HTTP_PORT
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.clusters import UNNOTICED, in_time, patiently, site, watching
from tests.lan.test_cluster_deaths import cut_off, link_down, messages_lost

if TYPE_CHECKING:
    from tests.lan.clusters import Seen, Site
    from tests.lan.test_cluster_deaths import Trouble

LIMIT = SERVE_WITHIN["default"] / SECOND
PAUSE = (DEFAULT.promise(DEFAULT.lease) - DEFAULT.lease + DEFAULT.interval) / SECOND + 0.1
"""How long the survivor of two may pause: its own lease, which the other granted too, ends L after
the message that the other acknowledged last; alone it goes on D after it heard the other last,
which was up to an interval later. 0.1 s is for the machine."""


def survived(web: Site, trouble: Trouble, what: str) -> None:
    """The second of two hosts is in trouble: assert that the first serves all in time."""
    first, second = web.lan.hosts[:2]
    web.cluster.settled([first, second])
    with watching(web, 200) as watch, trouble(web, second):
        web.cluster.settled([first])
        seen = watch.stop()
    seen.only_broke(second)
    back = came_back(web)
    in_time(f"{what}: longest gap", max(seen.silences(second).values()), LIMIT)
    pause = UNNOTICED if web.cluster.status(first)["quorum"] == "majority" else PAUSE
    in_time(f"{what}: longest gap of the other's buckets", seen.longest_without(second), pause)
    in_time(f"{what}: longest gap when it was back", back.gaps.longest, UNNOTICED)


def came_back(web: Site) -> Seen:
    with watching(web, 200) as watch:
        web.cluster.settled(web.lan.hosts[:2])
    watch.seen.nothing_broke()
    return watch.seen


def test_the_survivor_of_two_goes_on_alone() -> None:
    with site(2) as web:
        first = web.lan.hosts[0]
        assert web.cluster.status(first)["quorum"] == "alive"
        # Not by a cut between them: then each goes on, as the documents say.
        patiently(web, lambda: survived(web, link_down, "two hosts, link down"))


def test_the_other_of_two_comes_back_after_its_death() -> None:
    with site(2) as web:
        first, second = web.lan.hosts
        web.cluster.kill(second)
        web.cluster.settled()
        assert web.cluster.status(first)["alone"]
        assert "serving alone" in first.clusterip("show", check=False).stdout
        with watching(web, 200) as watch:
            web.cluster.start(second)
            web.cluster.settled()
        watch.seen.nothing_broke()
        assert not web.cluster.status(first)["alone"]


def test_two_hosts_and_a_witness() -> None:
    with site(3, witness="h3") as web:
        first, _, witness = web.lan.hosts
        assert web.cluster.status(witness)["witness"]
        assert web.cluster.status(first)["quorum"] == "majority"
        patiently(web, lambda: survived(web, link_down, "with a witness, link down"))
        # Cut off from the other and from the witness it stops, though clients still reach it.
        patiently(web, lambda: survived(web, cut_off, "with a witness, cut off"))

        # Without the witness the two are a majority, and nothing moves.
        held = web.cluster.settled()
        with watching(web, 200) as watch:
            web.cluster.kill(witness)
            nobody = eventually(lambda: not web.node(first, witness)["alive"], what="its silence")
            assert nobody
            assert web.cluster.held() == held
        watch.seen.nothing_broke()

        # Without witness and without each other, nobody serves: that is what a majority means.
        with messages_lost(web.lan.switch, ""):
            eventually(lambda: not any(web.cluster.held().values()), what="both to stop")
            asked = traffic.flows(web.lan.client, VIP, HTTP_PORT, BUCKETS)
            assert traffic.web_answers(web.lan.client, asked, timeout=0.1) == [""] * BUCKETS
        web.cluster.settled(within=15.0)
        assert all(traffic.web_answers(web.lan.client, asked))
