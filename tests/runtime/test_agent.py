"""Members of a cluster: they elect, serve, drain and hand over; what they warn of."""

from __future__ import annotations

from functools import partial

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.datagrams import Received
from clusterip.core.config.reading import read
from clusterip.core.config.state import GROUP
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.command import Verb
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.wire import Codec
from clusterip.core.serving.actions import Alarm, AlarmKind
from clusterip.core.units import SECOND
from clusterip.runtime.agent import Agent
from tests.runtime.agents import ALL, MS, TEXT, Cluster, sharing
from tests.runtime.said import SECRETS, WEB, commands, message_of

# ---- serving ----


def test_three_share_the_buckets() -> None:
    cluster = sharing()
    assert [len(host.held) for host in cluster.hosts] == [2, 2, 2]
    for host in cluster.hosts:
        assert host.maps is not None
        deadline = host.maps.deadline(GROUP)
        assert cluster.now < deadline <= cluster.now + DEFAULT.lease
        assert host.exchange.traffic.sent == len(host.inbox.sent)
        assert host.exchange.traffic.message_bytes == len(host.inbox.sent[-1])
        assert host.exchange.traffic.received["accepted"] > 10
        assert host.agent.alarms == {}
        # One message for each interval, and few more while things change.
        assert host.exchange.traffic.sent < 4 * SECOND // DEFAULT.interval * 3


def test_a_start_closes_what_lies_there() -> None:
    cluster = Cluster()
    host = cluster["web1"]
    assert host.maps is not None
    for bucket in ALL:
        host.maps.set_bucket(GROUP, bucket, BucketState.OWNED)
    host.maps.set_deadline(GROUP, cluster.now + SECOND)
    host.start()
    host.agent.pump()
    assert host.held == []
    assert host.maps.deadline(GROUP) == 0


def test_the_buckets_of_one_that_died_are_answered_in_time() -> None:
    cluster = sharing()
    cluster["web1"].runs = False
    cluster.run(1)
    assert cluster["web1"].answers() == []
    assert cluster.answered() == ALL


def test_one_that_is_cut_off_closes_by_itself() -> None:
    cluster = sharing()
    cluster.cut("web2")
    cluster.run(1)
    assert cluster["web2"].held == []
    assert cluster.answered() == ALL


def test_a_witness_votes_and_holds_nothing() -> None:
    two = TEXT.replace('"web3"', '"web3"\nwitness = true')
    cluster = sharing(read(two))
    assert [len(host.held) for host in cluster.hosts] == [3, 3, 0]
    cluster["web1"].runs = False
    cluster.run(1)
    assert cluster["web2"].answers() == ALL


# ---- draining ----


def test_a_drain() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had = first.held
    first.agent.do(Verb.DRAIN)
    cluster.run(1)
    assert (first.held, first.states(BucketState.DRAINING)) == ([], had)
    assert cluster.answered() == ALL
    # Who took them leaves their connections alone, until the last is gone.
    taking = [one for host in cluster.hosts for one in host.states(BucketState.TAKING)]
    assert sorted(taking) == had
    assert all(
        cluster.now - SECOND <= at <= cluster.now for at in first.agent.drains.since.values()
    )
    for bucket in had:
        first.agent.tell(partial(first.node.drained, [bucket]))
    assert first.agent.drains.since == {}
    cluster.run(1)
    assert first.states(BucketState.DRAINING) == []
    assert [one for host in cluster.hosts for one in host.states(BucketState.TAKING)] == []
    first.agent.do(Verb.UNDRAIN)
    cluster.run(2)
    assert len(first.held) == 2


def test_a_weight() -> None:
    cluster = sharing()
    assert [host.agent.weight for host in cluster.hosts] == [None] * 3
    cluster["web1"].agent.do(Verb.WEIGHT, 0)
    cluster.run(1)
    assert cluster["web1"].held == []
    assert [host.agent.weight for host in cluster.hosts] == [0, None, None]
    assert cluster.answered() == ALL


def test_the_last_words() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.agent.tell(first.node.leave)
    cluster.now += DEFAULT.gap
    first.agent.pump()
    assert first.held == []
    last = len(first.inbox.sent)
    first.exchange.repeat()
    assert first.inbox.sent[last:] == [message_of(first)] * 2
    first.runs = False
    # Nobody waits for a lease that was given back.
    cluster.run(0.1)
    assert cluster.answered() == ALL
    assert cluster["web2"].exchange.traffic.received["replayed"] >= 2


# ---- alarms ----


def test_another_configuration(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    cluster["web3"].config = read(TEXT.replace("buckets = 6", "buckets = 6\nhash_init = 5"))
    cluster["web3"].start()
    cluster["web3"].agent.pump()
    cluster.run(4)
    first = cluster["web1"].agent
    assert first.alarms == {"mismatch": 1}
    assert first.exchange.traffic.received["mismatch"] > 10
    # Two of three are a majority.
    assert cluster.answered() == ALL
    assert cluster["web3"].held == []
    assert any("web3 has another configuration" in one for one in caplog.messages)


def test_starved(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.runs = False
    cluster.run(0.4)
    first.runs = True
    cluster.run(0.01)
    assert first.agent.alarms == {"starved": 1}
    (line,) = (one for one in caplog.messages if "starved" in one)
    assert "of a lease of 700 ms" in line


def test_two_owners(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first, second = cluster["web1"], cluster["web2"]
    codec = Codec(WEB, SECRETS, 1, 6)
    said = codec.decode(message_of(second))
    both = first.node.kernel.open
    lie = said._replace(sequence=said.sequence + 1, want=said.want | both, held=said.held | both)
    second.runs = False
    first.take([Received(codec.encode(lie))])
    assert first.agent.alarms == {"two_owners": 1}
    (line,) = (one for one in caplog.messages if "TWO OWNERS" in one)
    assert line.startswith("TWO OWNERS: web2 says that it holds buckets ")


@pytest.mark.parametrize(("known", "cause"), [(0, "hears nobody: is"), (1, "does not hear this")])
def test_deaf(known: int, cause: str, caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.exchange.others.port = 5407
    alarm = Alarm(AlarmKind.DEAF, digest_of_name("web2"), known)
    first.node.kernel.actions.append(alarm)
    first.agent.pump()
    assert first.agent.alarms == {"deaf": 1}
    (line,) = (one for one in caplog.messages if "is heard" in one)
    assert line.startswith(f"web2 is heard, but {cause}")
    assert "UDP port 5407 open" in line


# ---- planned restarts ----


def restarted(cluster: Cluster, name: str) -> Agent:
    """Have a host restart, and return its new member when it goes on."""
    host = cluster[name]
    host.agent.tell(host.node.prepare_restart)
    for _ in range(200):
        cluster.run(0.005)
        if host.agent.may_go:
            break
    assert host.agent.may_go
    return host.start(host.agent.hand_over())


@pytest.mark.parametrize("full", [["web2"], ["web2", "web3"]])
def test_who_cannot_note_a_promise_does_not_give_it(
    full: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = sharing()
    before = {host.name: host.held for host in cluster.hosts}
    for name in full:
        cluster[name].memory.full = True
    first = cluster["web1"]
    first.agent.tell(first.node.prepare_restart)
    for _ in range(400):
        cluster.run(0.005)
        assert {host.name: host.held for host in cluster.hosts} == before
        assert cluster.answered() == ALL
    assert first.agent.may_go == (len(full) < 2)
    assert first.agent.refused_restarts == (len(full) == 2)
    assert not any("silent for 0.0 s" in one for one in caplog.messages)
    declined = [one for one in caplog.messages if one.startswith("no restart of web1 is agreed")]
    assert declined == ["no restart of web1 is agreed to here: no space left; make room"] * len(
        full
    )


def test_a_restart_loses_nothing() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had, incarnation, sequence = first.held, first.node.incarnation, first.node.sequence
    first.agent.tell(first.node.prepare_restart)
    while not first.agent.may_go:
        cluster.run(0.005)
    # From here on nothing happens but the hand-over.
    sent = len(first.inbox.sent)
    first.inbox.inbox.extend([Received(b"")] * 3)
    waiting = len(first.inbox.inbox)
    first.agent.receive()
    first.agent.pump()
    assert len(first.inbox.sent) == sent
    assert len(first.inbox.inbox) == waiting
    document = first.agent.hand_over()
    for _ in range(20):
        cluster.run(0.1)
        assert first.answers() == had
    first.start(document)
    assert first.node.incarnation == incarnation
    assert first.node.sequence > sequence
    for _ in range(20):
        cluster.run(0.05)
        assert first.answers() == had
        assert cluster.answered() == ALL
    assert first.agent.alarms == cluster["web2"].agent.alarms == {}


def test_a_drain_outlasts_a_restart() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.agent.do(Verb.DRAIN)
    cluster.run(1)
    since = dict(first.agent.drains.since)
    assert since
    first.agent.tell(first.node.prepare_restart)
    while not first.agent.may_go:
        cluster.run(0.005)
    document = first.agent.hand_over()
    assert document.draining_since == since
    assert sorted(since) == first.states(BucketState.DRAINING)
    first.start(document)
    assert first.node.own.leaving


def test_a_command_that_the_predecessor_obeyed_is_not_obeyed_by_the_successor() -> None:
    cluster = sharing()
    first = cluster["web1"]
    cluster["web2"].exchange.ask(first.node.me, Verb.WEIGHT, 7)
    (recorded, *_) = commands(cluster["web2"].inbox.sent)
    cluster.run(0.05)
    assert first.exchange.traffic.received["command"] == 1
    restarted(cluster, "web1")
    first.take([Received(recorded)])
    assert first.exchange.traffic.received["command refused: replayed or overtaken"] == 1
    assert first.exchange.traffic.received["command"] == 0


def test_nobody_agrees_to_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    cluster.cut("web1")
    first = cluster["web1"]
    first.agent.tell(first.node.prepare_restart)
    cluster.run(2)
    assert not first.agent.may_go
    assert first.agent.refused_restarts == 1
    assert any("no majority agreed to a restart" in one for one in caplog.messages)


def test_the_note_covers_every_promise() -> None:
    cluster = sharing()
    second = cluster["web2"].memory
    cluster["web1"].agent.tell(cluster["web1"].node.prepare_restart)
    cluster.run(0.1)
    for host in ("web1", "web2"):
        memory = cluster[host].memory
        assert memory.until is not None
        assert memory.until >= cluster.now - 100 * MS + DEFAULT.restart
    # It only ever moves ahead.
    assert second.notes == sorted(second.notes)


def test_without_a_network_nothing_is_served() -> None:
    cluster = Cluster()
    for host in cluster.hosts:
        host.inbox.peers = []
    cluster.run(4)
    assert cluster.answered() == []


# ---- flows ----


def test_flows_are_read_from_the_kernel_of_one_and_put_into_that_of_the_other() -> None:
    cluster = sharing()
    web1 = cluster["web1"]
    assert web1.maps is not None
    web1.node.flows.watch, web1.node.flows.keep = 300 * MS, SECOND
    bucket = web1.held[0]
    web1.agent.do(Verb.DRAIN)
    cluster.run(0.2)
    assert web1.maps.bucket_states(GROUP)[bucket - 1] is BucketState.WATCHING
    web1.maps.set_flow_slots(GROUP, bucket, 0b101)
    cluster.run(0.3)
    assert web1.maps.bucket_states(GROUP)[bucket - 1] is BucketState.DRAINING
    (taker,) = (host for host in cluster.hosts if bucket in host.held)
    assert taker.maps is not None
    assert taker.maps.flow_slots(GROUP, bucket) == 0b101
    cluster.run(1.0)
    assert (web1.maps.flow_slots(GROUP, bucket), taker.maps.flow_slots(GROUP, bucket)) == (0, 0)
