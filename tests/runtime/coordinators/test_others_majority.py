"""What a node says that is not in contact with a majority of the voters."""

from __future__ import annotations

import pytest

from clusterip.core.config.reading import read
from clusterip.core.events import AlarmCleared
from tests.core.config.texts import with_lines
from tests.runtime.agents import MS, Cluster, sharing
from tests.runtime.said import codes, findings

pytestmark = pytest.mark.usefixtures("info")

LOST = "no majority, so this host answers nothing"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one for one in caplog.messages if one.startswith("no majority")]


def test_one_that_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    assert not any("no-majority" in codes(host) for host in cluster.hosts)
    peers = [list(host.inbox.peers) for host in cluster.hosts]
    cluster.cut("web3")
    cluster.run(3)
    third = cluster["web3"]
    assert third.answers() == []
    (found, *_) = findings(third)
    assert (found.code, found.what) == ("no-majority", LOST)
    assert found.why == "2 of 3 voters must hear each other, with the same file; only web3 is here"
    assert found.cure.startswith("bring back 1 of web1, web2, or mend the network between; ")
    # The others are a majority without it.
    assert codes(cluster["web1"]) == ["silent"]
    assert len(lines(caplog)) == 1
    for host, some in zip(cluster.hosts, peers, strict=True):
        host.inbox.peers = some
    cluster.run(1)
    assert not any(codes(host) for host in cluster.hosts)


def test_each_time_it_is_lost_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    """That it was lost minutes ago is no reason to be silent about it."""
    cluster = sharing()
    peers = [list(host.inbox.peers) for host in cluster.hosts]
    others = cluster["web3"].exchange.others
    for times in (1, 2):
        cluster.cut("web3")
        cluster.run(3)
        others.alarms.hold(others.wrong(now=cluster.now), now=cluster.now)
        assert len(lines(caplog)) == times
        for host, some in zip(cluster.hosts, peers, strict=True):
            host.inbox.peers = some
        cluster.run(2)
        over = others.alarms.hold(others.wrong(now=cluster.now), now=cluster.now)
        assert "no-majority" in [one.code for one in over if isinstance(one, AlarmCleared)]


def test_the_survivor_of_two_deaths() -> None:
    cluster = sharing()
    cluster["web2"].runs = cluster["web3"].runs = False
    cluster.run(3)
    first = cluster["web1"]
    assert codes(first)[-1] == "no-majority"  # what it follows from is said before


def test_one_that_begins_has_its_time(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    cluster["web2"].runs = cluster["web3"].runs = False
    cluster.run(4.8)
    assert "no-majority" not in codes(cluster["web1"])
    cluster.run(0.5)
    assert "no-majority" in codes(cluster["web1"])
    assert len(lines(caplog)) == 1


def test_a_standstill_is_no_loss() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.runs = False
    cluster.run(5)
    first.runs = True
    assert codes(first) == []
    first.agent.timer()
    assert codes(first) == []


def test_of_two_one_may_go_on_alone_or_not() -> None:
    for quorum, expected in (("alive", False), ("majority", True)):
        text = with_lines(f'buckets = 6\nquorum = "{quorum}"')
        config = read(text.replace('[[node]]\nname = "web3"\n', ""))
        cluster = Cluster(config)
        cluster.run(12)
        cluster["web2"].runs = False
        cluster.run(12)
        assert ("no-majority" in codes(cluster["web1"])) is expected


def test_who_was_left_by_all_says_so_and_is_not_deaf(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    for name in ("web2", "web3"):
        host = cluster[name]
        host.agent.tell(host.agent.coordinator.leave)
        cluster.now += 10 * MS
        host.agent.pump()
        host.runs = False
    cluster.run(3)
    first = cluster["web1"]
    assert codes(first) == ["stopped", "stopped", "no-majority"]
    (me,) = (one for one in first.node.snapshot(now=cluster.now).nodes if one.me)
    assert not me.deaf
    assert not any("hears nobody" in one for one in caplog.messages)
