"""The survivor of two goes on when the other stops: that one has said that it answers nothing."""

from __future__ import annotations

import pytest

from clusterip.core.lease import pair
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.serving.actions import BucketState, SetBucket
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, restart_in, two


def serving() -> Lan:
    lan = two(4 * SECOND)
    assert sum(lan.held().values()) == 0b1111
    return lan


def drained(lan: Lan) -> None:
    leaving = lan.nodes[2]
    leaving.drain(now=lan.now)
    lan.run(lan.now + SECOND)
    leaving.drained([1, 2, 3, 4], now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held() == {1: 0b1111, 2: 0}


def restarted(lan: Lan) -> None:
    first = lan.nodes[2]
    first.prepare_restart(now=lan.now)
    lan.run(lan.now + 50 * MS)
    second = Node(first.state.config, handover=HandOver.decode(first.hand_over()), now=lan.now)
    lan.nodes[2] = second
    lan.run(lan.now + SECOND)


@pytest.mark.parametrize("restarts", [False, True])
def test_it_goes_on_without_a_break(restarts: bool) -> None:
    lan = serving()
    drained(lan)
    if restarts:
        restarted(lan)
    lan.events[1].clear()
    lan.nodes[2].leave(now=lan.now)
    lan.run(lan.now + 50 * MS)
    del lan.nodes[2]
    lan.run(lan.now + 6 * SECOND)
    assert lan.held() == {1: 0b1111}
    assert not [one for one in lan.events[1] if isinstance(one, SetBucket)]


def test_one_that_is_drained_and_speaks_is_not_gone() -> None:
    lan = serving()
    drained(lan)
    assert len(pair.quorums(lan.nodes[1].state, lan.now)[0][0]) == 2


def test_one_that_drains_may_answer_as_long_as_its_grace() -> None:
    lan = serving()
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.said(2).draining
    restarted(lan)
    gone = lan.now
    del lan.nodes[2]
    lan.run(gone + 3 * SECOND)
    assert lan.held() == {1: 0}


def test_who_comes_back_takes_its_share() -> None:
    lan = serving()
    drained(lan)
    first = lan.nodes[2]
    first.leave(now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    lan.nodes[2] = Node(first.state.config, incarnation=first.incarnation + 1, now=lan.now)
    lan.run(lan.now + 8 * SECOND)
    lan.nodes[1].drained([1, 2, 3, 4], now=lan.now)
    lan.run(lan.now + SECOND)
    held = lan.held()
    assert held[1] & held[2] == 0
    assert held[1] | held[2] == 0b1111
    assert held[2]


@pytest.mark.parametrize("after", [0, 5 * MS, 100 * MS, 300 * MS, 500 * MS, 1500 * MS])
@pytest.mark.parametrize("silence", [50 * MS, 900 * MS])
@pytest.mark.parametrize("restarted_before", [False, True])
def test_the_survivor_may_restart(after: int, silence: int, restarted_before: bool) -> None:
    """Whatever the other asked to be borne before it stopped."""
    lan = serving()
    if restarted_before:
        restart_in(lan, 2, 300 * MS)
        lan.run(lan.now + SECOND)
    mine = lan.nodes[1].kernel.open
    lan.nodes[2].leave(now=lan.now)
    lan.run(lan.now + 10 * MS)
    del lan.nodes[2]
    lan.run(lan.now + after)
    assert lan.nodes[1].kernel.open & mine == mine
    restart_in(lan, 1, silence)
    lan.events[1].clear()
    lan.run(lan.now + 6 * SECOND)
    closed = [
        one
        for one in lan.events[1]
        if isinstance(one, SetBucket)
        and one.state is BucketState.NONE
        and mine >> one.bucket - 1 & 1
    ]
    assert closed == []
    assert lan.held() == {1: 0b1111}
