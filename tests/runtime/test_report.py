"""What a daemon tells of itself: held against the cluster that it is a part of."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from clusterip import __version__
from clusterip.adapters.datagrams import Received
from clusterip.core.config.key_file import Key, Keys
from clusterip.core.config.model import CommandCheck
from clusterip.core.config.reading import read
from clusterip.core.health import Health
from clusterip.core.messages import answer
from clusterip.core.messages.command import Verb
from clusterip.core.messages.message import digest_of_name
from clusterip.core.status import Status
from clusterip.core.units import SECOND
from clusterip.runtime.report import report
from tests.runtime.agents import ALL, KEYS, TEXT, THREE, Cluster, Host, sharing


def told(cluster: Cluster, host: Host, health: Health | None = None) -> dict[str, Any]:
    """Return what the daemon says, as it arrives where it was asked."""
    said = report(host.config, host.agent, health or Health(()), now=cluster.now)
    assert answer.read(answer.encode(said), Status) == said, "changed on its way"
    told: dict[str, Any] = msgspec.to_builtins(said, str_keys=True)
    return told


def test_three_that_share() -> None:
    cluster = sharing()
    seen = {host.name: told(cluster, host) for host in cluster.hosts}
    for host in cluster.hosts:
        said = seen[host.name]
        assert (said["cluster"], said["node"]) == ("web", host.name)
        assert (said["profile"], said["quorum"], said["total"]) == ("default", "majority", 6)
        assert said["vips"] == ["10.9.0.100"]
        assert said["voters"] == ["web1", "web2", "web3"]
        assert said["owned"] == said["held"] == host.held
        assert said["taking"] == said["asking"] == said["draining"] == []
        assert 0.5 < said["lease_seconds"] <= 0.7
        kinds = ("two_owners", "mismatch", "starved", "stood_still", "deaf")
        assert said["alarms"] == dict.fromkeys(kinds, 0)
        assert said["deaf"] == {}
        assert said["healthy"]
        assert [one["name"] for one in said["nodes"]] == ["web1", "web2", "web3"]
        for one in said["nodes"]:
            assert one["hears"] == [name for name in seen if name != one["name"]]
            assert one["held"] == seen[one["name"]]["held"]
            assert (one["heard_seconds"] is None) is one["me"] is (one["name"] == host.name)
            assert sorted(bucket for some in one["votes"].values() for bucket in some) == ALL
        assert said["messages"]["sent"] == host.exchange.traffic.sent
        assert said["messages"]["bytes"] == len(host.inbox.sent[-1])
        assert said["messages"]["received"] == dict(host.exchange.traffic.received)
        assert int(said["boot"], 16) == host.node.incarnation
    assert len({said["digest"] for said in seen.values()}) == 1
    assert len({said["boot"] for said in seen.values()}) == 3


def test_who_only_votes() -> None:
    only_votes = TEXT.replace('name = "web3"', 'name = "web3"\nwitness = true', 1)
    cluster = Cluster(read(only_votes))
    said = told(cluster, cluster["web1"])
    assert {one["name"] for one in said["nodes"] if one["witness"]} == {"web3"}


def test_which_program_it_is() -> None:
    cluster = Cluster()
    assert told(cluster, cluster["web1"])["program"] == __version__


def test_before_anything_was_heard() -> None:
    cluster = Cluster()
    said = told(cluster, cluster["web2"])
    assert said["held"] == []
    assert said["lease_seconds"] == 0
    assert [one["alive"] for one in said["nodes"]] == [False, True, False]
    assert [one["heard_seconds"] for one in said["nodes"]] == [None] * 3


def test_a_drain() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had = first.held
    first.agent.do(Verb.DRAIN)
    cluster.run(1)
    first.agent.drains.counted({had[0]: 4}, began=cluster.now, timeout=SECOND, now=cluster.now)
    said = told(cluster, first)
    assert said["leaving"]
    assert said["held"] == []
    assert [one["bucket"] for one in said["draining"]] == had
    assert [one["connections"] for one in said["draining"]] == [4, 0]
    assert all(0.5 < one["seconds"] <= 1 for one in said["draining"])
    taking = {host.name: told(cluster, host)["taking"] for host in cluster.hosts}
    assert sorted(bucket for some in taking.values() for bucket in some) == had
    second = told(cluster, cluster["web2"])
    assert second["held"] == sorted(second["owned"] + second["taking"])
    # Given up after its time.
    first.agent.drains.counted({had[0]: 4}, began=cluster.now, timeout=0, now=cluster.now)
    assert told(cluster, first)["cut_connections"] == 4


def test_not_counted_yet() -> None:
    cluster = sharing()
    cluster["web1"].agent.do(Verb.DRAIN)
    cluster.run(0.2)
    assert {one["connections"] for one in told(cluster, cluster["web1"])["draining"]} == {None}


def test_checks() -> None:
    cluster = Cluster()
    check = CommandCheck(name="c", interval=1, timeout=1, rise=1, fall=1, argv=("/bin/true",))
    health = Health((check,))
    said = told(cluster, cluster["web1"], health)
    assert not said["healthy"]
    assert said["checks"] == [{"name": "c", "good": None, "in_a_row": 0, "detail": ""}]
    health.result("c", good=True, detail="exit status 0")
    said = told(cluster, cluster["web1"], health)
    assert said["healthy"]
    assert said["checks"] == [{"name": "c", "good": True, "in_a_row": 1, "detail": "exit status 0"}]


def test_a_restart() -> None:
    cluster = sharing()
    cluster["web1"].agent.tell(cluster["web1"].node.prepare_restart)
    assert told(cluster, cluster["web1"])["restarting"]
    cluster["web1"].agent.tell(cluster["web1"].node.cancel_restart)
    cluster.cut("web1")
    cluster["web1"].agent.tell(cluster["web1"].node.prepare_restart)
    cluster.run(2)
    said = told(cluster, cluster["web1"])
    assert not said["restarting"]
    assert said["refused_restarts"] == 1


def test_alone() -> None:
    cluster = sharing(read(TEXT[: TEXT.rindex("[[node]]")]))
    assert not told(cluster, cluster["web1"])["alone"]
    cluster["web2"].runs = False
    cluster.run(2)
    said = told(cluster, cluster["web1"])
    assert said["alone"]
    assert said["quorum"] == "alive"
    assert said["held"] == ALL
    # Whose interface is down serves nothing, alone or not.
    cluster["web1"].agent.tell(partial(cluster["web1"].node.set_link, up=False))
    said = told(cluster, cluster["web1"])
    assert (said["alone"], said["held"]) == (False, [])


def test_alarms() -> None:
    cluster = sharing()
    cluster["web1"].agent.alarms.update(starved=2, two_owners=1)
    alarms = told(cluster, cluster["web1"])["alarms"]
    assert {kind: count for kind, count in alarms.items() if count} == {
        "two_owners": 1,
        "starved": 2,
    }


def test_the_voters_change() -> None:
    cluster = sharing()
    four = cluster["web1"].node.state.votes.voters.voters | {digest_of_name("web4")}
    first = cluster["web1"]
    first.agent.tell(partial(first.node.set_voters, four))
    cluster.run(0.2)
    said = told(cluster, cluster["web1"])
    assert said["voters_changing"]
    # Who has no name in the file is known by number.
    assert f"{digest_of_name('web4'):016x}" in [one["name"] for one in said["nodes"]]


def test_every_node_of_the_file_has_a_name() -> None:
    assert {one["name"] for one in told(Cluster(), Cluster()["web1"])["nodes"]} == {
        node.name for node in THREE.nodes
    }


# ---- where buckets came from ----


def buckets(cluster: Cluster, name: str) -> dict[int, tuple[str, str | None]]:
    return {
        one["bucket"]: (one["state"], one["from"])
        for one in told(cluster, cluster[name])["buckets"]
    }


def test_what_nobody_had() -> None:
    cluster = sharing()
    for host in cluster.hosts:
        assert buckets(cluster, host.name) == dict.fromkeys(host.held, ("owned", None))
        assert all(0 < one["since_seconds"] <= 4 for one in told(cluster, host)["buckets"])


def test_what_is_given_and_taken() -> None:
    cluster = sharing()
    first, had = cluster["web1"], cluster["web1"].held
    first.agent.do(Verb.DRAIN)
    cluster.run(1)
    assert buckets(cluster, "web1") == dict.fromkeys(had, ("draining", None))
    taken = {**buckets(cluster, "web2"), **buckets(cluster, "web3")}
    assert {bucket: taken[bucket] for bucket in had} == dict.fromkeys(had, ("taking", "web1"))
    first.agent.tell(partial(first.node.drained, buckets=had))
    cluster.run(1)
    assert buckets(cluster, "web1") == {}
    taken = {**buckets(cluster, "web2"), **buckets(cluster, "web3")}
    assert {bucket: taken[bucket] for bucket in had} == dict.fromkeys(had, ("owned", "web1"))
    assert {one["since_seconds"] > 3 for one in told(cluster, cluster["web2"])["buckets"]} == {
        True,
        False,
    }


def test_what_is_asked_for() -> None:
    cluster = sharing()
    cluster["web1"].runs = False
    for _ in range(400):
        cluster.run(0.005)
        if asking := told(cluster, cluster["web2"])["asking"]:
            break
    assert asking
    seen = buckets(cluster, "web2")
    assert {seen[bucket] for bucket in asking} == {("asking", "web1")}
    cluster.run(2)
    assert {buckets(cluster, "web2")[bucket] for bucket in asking} == {("owned", "web1")}


def test_a_restart_changes_nothing_of_it() -> None:
    cluster = sharing()
    cluster["web1"].agent.do(Verb.DRAIN)
    cluster.run(1)
    second = cluster["web2"]
    second.agent.tell(second.node.prepare_restart)
    while not second.agent.may_go:
        cluster.run(0.005)
    before = buckets(cluster, "web2")
    assert {state for state, _ in before.values()} == {"owned", "taking"}
    handed, at = second.agent.hand_over(), cluster.now
    since = {one["bucket"]: one["since_seconds"] for one in told(cluster, second)["buckets"]}
    cluster.run(1)
    second.start(handed)
    cluster.run(0.1)
    gone = (cluster.now - at) / SECOND
    assert buckets(cluster, "web2") == before
    for one in told(cluster, second)["buckets"]:
        assert one["since_seconds"] == pytest.approx(since[one["bucket"]] + gone, abs=0.002)


# ---- shares, keys, what is refused ----


def test_shares_against_fair_shares() -> None:
    cluster = sharing()
    assert [one["fair_share"] for one in told(cluster, cluster["web1"])["nodes"]] == [2.0] * 3
    cluster["web1"].agent.do(Verb.WEIGHT, 50)
    cluster.run(1)
    shares = [one["fair_share"] for one in told(cluster, cluster["web2"])["nodes"]]
    assert shares == [1.2, 2.4, 2.4]


def test_keys_of_every_node() -> None:
    cluster = sharing()
    old, new = KEYS.every[0], Key(200, b"n" * 32)
    seen = told(cluster, cluster["web1"])["nodes"]
    assert [(one["key"], one["keys"]) for one in seen] == [(1, [1])] * 3
    for host in (cluster["web1"], cluster["web2"]):
        host.exchange.use_keys(Keys((old, new)))
    cluster["web2"].exchange.use_keys(Keys((new, old)))
    cluster.run(0.3)
    seen = told(cluster, cluster["web1"])["nodes"]
    assert [(one["key"], one["keys"]) for one in seen] == [
        (1, [1, 200]),
        (200, [1, 200]),
        (1, [1]),
    ]
    # Whoever was never heard is known to have none.
    alone = Cluster()
    seen = told(alone, alone["web1"])["nodes"]
    assert [(one["key"], one["keys"]) for one in seen] == [(1, [1]), (None, None), (None, None)]


def test_what_is_rejected() -> None:
    cluster = sharing()
    first = cluster["web1"]
    before = len(first.exchange.traffic.rejections.latest())
    sent = cluster["web2"].inbox.sent[-1]
    first.take([Received(sent, "10.9.0.2"), Received(sent, "10.9.0.2")])
    # What is said to everybody comes back: that is nobody's fault.
    first.take([Received(cluster["web1"].inbox.sent[-1], "10.9.0.1")])
    assert first.exchange.traffic.received["own"] == 1
    first.take([Received(b"x" * 99, "10.9.0.9"), Received(sent[:-1] + b"x", "10.9.0.7")])
    cluster.run(0.5)
    rejected = told(cluster, cluster["web1"])["rejected"]
    assert len(rejected) == before + 3
    rows = [{key: one[key] for key in ("sender", "source", "reason", "count")} for one in rejected]
    assert {"sender": "web2", "source": "10.9.0.2", "reason": "replayed", "count": 2} in rows
    assert {"sender": None, "source": "10.9.0.9", "reason": "bad magic", "count": 1} in rows
    assert {"sender": "web2", "source": "10.9.0.7", "reason": "bad MAC", "count": 1} in rows
    assert all(0.4 < one["last_seconds"] <= 0.6 for one in rejected[:3])
