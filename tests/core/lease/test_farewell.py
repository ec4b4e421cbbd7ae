"""The survivor of two goes on when the other stops: that one has said that it answers nothing."""

from __future__ import annotations

import pytest

from clusterip.core.lease.events import SetBucket
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from tests.core.lease.lan import MS, Lan, node

BOTH = frozenset({1, 2})


def two() -> Lan:
    lan = Lan(*(node(me, voters=BOTH, alive=True) for me in BOTH))
    lan.run(4 * SECOND)
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
    second = Node(first.config, handover=first.hand_over(), now=lan.now)
    lan.nodes[2] = second
    lan.run(lan.now + SECOND)


@pytest.mark.parametrize("restarts", [False, True])
def test_it_goes_on_without_a_break(restarts: bool) -> None:
    lan = two()
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
    lan = two()
    drained(lan)
    assert len(lan.nodes[1].quorums(lan.now)[0][0]) == 2


def test_one_that_drains_may_answer_as_long_as_its_term() -> None:
    lan = two()
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.said(2).draining
    restarted(lan)
    gone = lan.now
    del lan.nodes[2]
    lan.run(gone + 3 * SECOND)
    assert lan.held() == {1: 0}


def test_who_comes_back_takes_its_share() -> None:
    lan = two()
    drained(lan)
    first = lan.nodes[2]
    first.leave(now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    lan.nodes[2] = Node(first.config, boot=first.boot + 1, now=lan.now)
    lan.run(lan.now + 8 * SECOND)
    lan.nodes[1].drained([1, 2, 3, 4], now=lan.now)
    lan.run(lan.now + SECOND)
    held = lan.held()
    assert held[1] & held[2] == 0
    assert held[1] | held[2] == 0b1111
    assert held[2]
