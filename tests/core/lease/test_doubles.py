"""A node that runs twice, by a file that was copied, would vote twice: it counts for nothing."""

from __future__ import annotations

import random

import pytest

from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.units import SECOND
from tests.core.lease.doubled import SECOND_OF_2, Doubled, incarnations, schedules
from tests.core.lease.lan import MS, Lan, node


@pytest.fixture(params=[True, False], ids=["broadcast", "addresses"])
def lan(request: pytest.FixtureRequest) -> Doubled:
    return Doubled(reached=request.param)


def test_the_one_that_is_heard_goes_on(lan: Doubled) -> None:
    lan.run(lan.now + 6 * SECOND)
    assert lan.nodes[2].kernel.open == lan.held_before[2]
    assert lan.nodes[SECOND_OF_2].kernel.open == 0


@pytest.mark.parametrize("key", [1, 3, 2])
def test_it_goes_on_while_any_is_restarted(lan: Doubled, key: int) -> None:
    for _ in range(3):
        lan.restart(key)
        lan.run(lan.now + 2 * SECOND)
    assert lan.nodes[2].kernel.open == lan.held_before[2]
    assert lan.nodes[SECOND_OF_2].kernel.open == 0


def test_it_goes_on_while_one_after_the_other_is_restarted(lan: Doubled) -> None:
    for key in (1, 3, 2, 1, 3):
        lan.restart(key)
        lan.run(lan.now + SECOND)
    assert lan.nodes[2].kernel.open == lan.held_before[2]


@pytest.mark.long
@pytest.mark.parametrize("keys", [(1,), (3,), (1, 3), (3, 1)])
def test_others_that_begin_anew(lan: Doubled, keys: tuple[int, ...]) -> None:
    """They may hear the double first. All is served in the end, and nothing twice."""
    for key in keys:
        del lan.nodes[key]
        lan.run(lan.now + SECOND)
        lan.begin(key)
        lan.run(lan.now + 9 * SECOND)
    assert lan.served() == 0b1111


def test_the_double_goes_on_when_the_other_is_gone(lan: Doubled) -> None:
    del lan.nodes[2]
    lan.run(lan.now + 8 * SECOND)
    assert lan.served() == 0b1111
    assert bool(lan.nodes[SECOND_OF_2].kernel.open) == lan.reached


@pytest.mark.parametrize("seed", schedules(30))
def test_anything(seed: int) -> None:
    chance = random.Random(seed)
    lan = Doubled(reached=chance.random() < 0.5)
    for _ in range(8):
        key = chance.choice((1, 2, 3, SECOND_OF_2))
        if key not in lan.nodes:
            lan.begin(key)
        elif chance.random() < 0.5:
            lan.restart(key)
        else:
            del lan.nodes[key]
            lan.run(lan.now + chance.choice((5, 50, 300, 1500)) * MS)
            lan.begin(key)
        lan.run(lan.now + chance.choice((5, 100, 700, 3000, 7000)) * MS)


def test_the_time_that_it_takes_is_that_of_a_death() -> None:
    """Who begins anew at once takes the place of the one before as soon as that is over."""
    lan = Lan(*(node(me) for me in (1, 2, 3)))
    lan.run(4 * SECOND)
    lan.nodes[2] = Node(node(2).state.config, incarnation=next(incarnations), now=lan.now)
    incarnation = lan.nodes[2].incarnation
    lan.run(lan.now + 4 * DEFAULT.interval)
    assert [lan.nodes[me].state.hearing.peers.all[2].incarnation for me in (1, 3)] == [
        incarnation
    ] * 2


def test_what_the_one_before_drained_is_left_alone_until_that_is_over() -> None:
    """It may only have been silent for a moment, in which the other came."""
    lan = Lan(*(node(me) for me in (1, 2, 3)))
    lan.run(4 * SECOND)
    drained = lan.nodes[2].kernel.open
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.nodes[2].kernel.draining == drained
    silent = lan.now
    lan.nodes[2] = Node(node(2).state.config, incarnation=next(incarnations), now=lan.now)
    lan.run(lan.now + 4 * DEFAULT.interval)
    first = lan.nodes[1]
    assert first.state.hearing.peers.all[2].incarnation == lan.nodes[2].incarnation
    assert [one.draining for one in first.state.hearing.peers.lingering(now=lan.now)] == [drained]
    lan.run(silent + DEFAULT.promise(DEFAULT.lease))
    assert first.state.hearing.peers.lingering(now=lan.now) == []
