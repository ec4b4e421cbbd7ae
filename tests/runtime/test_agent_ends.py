"""Members that end otherwise than planned, or do not end though they were about to."""

from __future__ import annotations

import pytest

from clusterip.adapters.kernel_maps import FakeMaps
from clusterip.core.config.reading import read
from clusterip.core.config.state import GROUP
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages.command import Verb, worded
from clusterip.core.messages.wire import Codec
from tests.runtime.agents import ALL, TEXT, Cluster, sharing
from tests.runtime.said import SECRETS, WEB


def prepare(cluster: Cluster) -> None:
    """Have the first node ask for a restart, until it may go."""
    first = cluster["web1"]
    first.agent.tell(first.node.prepare_restart)
    while not first.agent.may_go:
        cluster.run(0.005)


def test_one_that_is_abandoned_releases_all_at_once() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had = set(first.held)
    assert had
    first.agent.abandon()
    assert first.answers() == []
    assert first.maps is not None
    assert first.maps.deadline(GROUP) == 0
    first.runs = False
    # Sooner than its promises end.
    cluster.run(0.3)
    assert cluster.answered() == ALL


def test_one_that_cannot_close_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = sharing()
    first = cluster["web1"]

    whole = FakeMaps.set_deadline

    def broken(maps: FakeMaps, group: int, deadline: int) -> None:
        if maps is first.maps:
            raise OSError("broken")
        whole(maps, group, deadline)

    monkeypatch.setattr(FakeMaps, "set_deadline", broken)
    sent = len(first.inbox.sent)
    with pytest.raises(OSError, match="broken"):
        first.agent.abandon()
    assert len(first.inbox.sent) == sent
    first.runs = False
    cluster.run(0.3)
    # Nobody takes what its kernel may still answer.
    assert set(cluster.answered()) >= set(first.answers())


def test_the_last_word_is_said_where_nothing_can_be_written_and_agrees_to_no_restart() -> None:
    cluster = sharing()
    second, first = cluster["web2"], cluster["web1"]
    second.memory.full = True
    first.agent.tell(first.node.prepare_restart)
    cluster.run(0.1)
    with pytest.raises(SystemFaultError, match="no space left"):
        second.agent.tell(second.node.prepare_restart)
    second.agent.abandon()
    last = Codec(WEB, SECRETS, 1, 6).decode(second.inbox.sent[-1])
    assert (last.leaving, last.want, last.grace) == (True, 0, 0)
    assert last.heard_of(first.node.me, first.node.incarnation) >= first.node.state.grace.sequence
    assert last.acknowledged(first.node.me, first.node.incarnation) == 0
    assert second.answers() == []


def test_a_hand_over_that_nobody_took_up_is_taken_back() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had = first.held
    prepare(cluster)
    first.agent.hand_over()
    cluster.run(0.1)
    first.agent.stay("no such program")
    first.agent.tell(first.node.cancel_restart)
    for _ in range(40):
        cluster.run(0.05)
        assert first.answers() == had
        assert cluster.answered() == ALL
    assert first.agent.refused_restarts == 1
    assert not first.node.state.grace.asked
    # The next one goes as if nothing had been.
    incarnation = first.node.incarnation
    prepare(cluster)
    first.start(first.agent.hand_over())
    assert first.node.incarnation == incarnation
    cluster.run(0.1)
    assert first.answers() == had


@pytest.mark.parametrize("verb", [Verb.DRAIN, Verb.WEIGHT])
def test_a_witness_takes_no_command(verb: Verb) -> None:
    cluster = sharing(read(TEXT.replace('"web3"', '"web3"\nwitness = true')))
    witness = cluster["web3"]
    before = witness.node.own.weight, witness.node.own.leaving
    cluster["web1"].exchange.ask(witness.node.me, verb, 200 if verb is Verb.WEIGHT else 0)
    cluster.run(0.2)
    assert witness.exchange.traffic.received["command refused: a witness"] >= 1
    assert (witness.node.own.weight, witness.node.own.leaving) == before
    assert cluster.answered() == ALL


def test_a_node_that_restarts_takes_no_command() -> None:
    cluster = sharing()
    first = cluster["web1"]
    cluster["web2"].exchange.ask(first.node.me, Verb.DRAIN)
    first.node.prepare_restart(now=cluster.now)
    first.agent.receive()
    assert first.exchange.traffic.received["command refused: restarting"] >= 1
    assert not first.node.own.leaving


@pytest.mark.parametrize("verb", [Verb.UNDRAIN, Verb.WEIGHT])
def test_a_node_that_stops_is_told_by_nobody_to_stay(
    verb: Verb, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.agent.ends_by = cluster.now
    first.agent.tell(first.node.drain)
    cluster.run(0.2)
    cluster["web2"].exchange.ask(first.node.me, verb)
    cluster.run(0.2)
    assert first.exchange.traffic.received["command refused: stopping"] >= 1
    assert f"web2 asks this node: {worded(verb, 0)}; refused, for it is stopping" in caplog.text
    assert first.node.own.leaving
    assert first.node.own.weight == 100
