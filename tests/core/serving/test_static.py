from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clusterip.adapters import abi
from clusterip.core.serving.actions import (
    Action,
    BucketState,
    RestartReady,
    SetBucket,
    SetDeadline,
)
from clusterip.core.serving.coordinator import NEVER
from clusterip.core.serving.static import NO_DEADLINE, Static

if TYPE_CHECKING:
    from collections.abc import Callable


def taken(one: Static) -> list[Action]:
    actions = []
    while action := one.next_action():
        actions.append(action)
    return actions


def test_a_start_clears_what_there_may_be_and_opens_its_own() -> None:
    assert taken(Static(1, 3, 0b101)) == [
        *(SetBucket(bucket, BucketState.NONE) for bucket in (1, 2, 3)),
        SetDeadline(0),
        SetDeadline(NO_DEADLINE),
        SetBucket(1, BucketState.OWNED),
        SetBucket(3, BucketState.OWNED),
    ]


def test_its_deadline_is_that_of_groups_without_a_daemon() -> None:
    assert NO_DEADLINE == abi.NO_DEADLINE


def test_a_change_of_the_rules_closes_before_it_opens() -> None:
    one = Static(1, 3, 0b011)
    taken(one)
    one.use(0b110)
    assert taken(one) == [SetBucket(1, BucketState.NONE), SetBucket(3, BucketState.OWNED)]
    one.use(0b110)
    assert taken(one) == []


@pytest.mark.parametrize(
    "happens",
    [
        lambda one: one.set_link(False, now=1),
        lambda one: one.set_health(False, now=1),
        lambda one: one.set_weight(0, now=1),
        lambda one: one.drain(now=1),
        lambda one: one.handle_timer(now=1),
        lambda one: one.drained([1], now=1),
        lambda one: one.note_flows({1: 1}, now=1),
        lambda one: one.speak(now=1),
    ],
)
def test_nothing_that_happens_takes_its_buckets(happens: Callable[[Static], None]) -> None:
    one = Static(1, 3, 0b101)
    taken(one)
    happens(one)
    assert taken(one) == []
    assert one.kernel.open == 0b101
    assert one.next_timer() == NEVER


def test_it_is_ready_to_restart_at_once_and_its_successor_goes_on() -> None:
    one = Static(1, 3, 0b101)
    taken(one)
    one.prepare_restart(now=5)
    assert one.restarting
    assert taken(one) == [RestartReady(NO_DEADLINE)]
    again = Static(1, 3, 0b101, memory=one.hand_over())
    assert one.gone
    assert taken(again) == []
    assert again.kernel.open == 0b101


def test_what_the_rules_took_meanwhile_its_successor_gives_up() -> None:
    one = Static(1, 3, 0b101)
    again = Static(1, 3, 0b110, memory=one.hand_over())
    assert taken(again) == [SetBucket(1, BucketState.NONE), SetBucket(2, BucketState.OWNED)]


def test_who_leaves_answers_nothing() -> None:
    one = Static(1, 2, 0b11)
    taken(one)
    one.leave(now=1)
    assert taken(one)[-1] == SetDeadline(0)
    assert (one.kernel.open, one.ended) == (0, True)


def test_what_is_to_be_seen_of_it() -> None:
    one = Static(7, 3, 0b101)
    one.drain(now=1)
    seen = one.snapshot(now=1)
    (me,) = seen.nodes
    assert (seen.owned, seen.leaving, me.node, me.held) == ([1, 3], True, 7, [1, 3])
