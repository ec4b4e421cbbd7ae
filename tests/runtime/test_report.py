"""What a daemon tells of itself: held against the cluster that it is a part of."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from clusterip.core.config import CommandCheck, read
from clusterip.core.health import Health
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from clusterip.core.messages.command import Verb
from clusterip.core.messages.message import digest_of_name
from clusterip.runtime.report import report
from tests.runtime.members import ALL, TEXT, THREE, Cluster, Host, sharing


def told(cluster: Cluster, host: Host, health: Health | None = None) -> dict[str, Any]:
    """Return what the daemon says, as it arrives where it was asked."""
    said = report(host.config, host.member, health or Health(()), now=cluster.now)
    arrived: dict[str, Any] = json.loads(json.dumps(said))
    assert arrived == said, "changed on its way"
    return arrived


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
        assert said["messages"]["sent"] == host.member.sent
        assert said["messages"]["bytes"] == len(host.inbox.sent[-1])
        assert said["messages"]["received"] == dict(host.member.received)
        assert int(said["boot"], 16) == host.node.boot
    assert len({said["digest"] for said in seen.values()}) == 1
    assert len({said["boot"] for said in seen.values()}) == 3


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
    first.member.do(Verb.DRAIN)
    cluster.run(1)
    first.member.drains.counted({had[0]: 4}, began=cluster.now, timeout=SECOND, now=cluster.now)
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
    first.member.drains.counted({had[0]: 4}, began=cluster.now, timeout=0, now=cluster.now)
    assert told(cluster, first)["cut_connections"] == 4


def test_not_counted_yet() -> None:
    cluster = sharing()
    cluster["web1"].member.do(Verb.DRAIN)
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
    cluster["web1"].member.tell(Node.prepare_restart)
    assert told(cluster, cluster["web1"])["restarting"]
    cluster["web1"].member.tell(Node.cancel_restart)
    cluster.cut("web1")
    cluster["web1"].member.tell(Node.prepare_restart)
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
    cluster["web1"].member.tell(partial(Node.set_link, up=False))
    said = told(cluster, cluster["web1"])
    assert (said["alone"], said["held"]) == (False, [])


def test_alarms() -> None:
    cluster = sharing()
    cluster["web1"].member.alarms.update(starved=2, two_owners=1)
    alarms = told(cluster, cluster["web1"])["alarms"]
    assert {kind: count for kind, count in alarms.items() if count} == {
        "two_owners": 1,
        "starved": 2,
    }


def test_the_voters_change() -> None:
    cluster = sharing()
    four = cluster["web1"].node.voters.voters | {digest_of_name("web4")}
    cluster["web1"].member.tell(lambda node, now: node.set_voters(four, now=now))
    cluster.run(0.2)
    said = told(cluster, cluster["web1"])
    assert said["voters_changing"]
    # Who has no name in the file is known by number.
    assert f"{digest_of_name('web4'):016x}" in [one["name"] for one in said["nodes"]]


def test_every_node_of_the_file_has_a_name() -> None:
    assert {one["name"] for one in told(Cluster(), Cluster()["web1"])["nodes"]} == {
        node.name for node in THREE.nodes
    }
