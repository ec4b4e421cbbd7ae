"""Whether our clock stood still, from what others' clocks showed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.lease.standstill import Standstill

MS = 1_000_000
NOISE, WINDOW = MS, 750 * MS
AHEAD = 12_345 * MS


class Clocks:
    """Ours and those of two others, which go on whatever ours does."""

    def __init__(self) -> None:
        self.standstill = Standstill(NOISE, WINDOW)
        self.true = self.lost = 0

    def hear(self, node: int, delay: int = 0, incarnation: int = 1) -> int:
        clock = self.true - delay + AHEAD * node
        return self.standstill.heed(node, incarnation, clock, now=self.true - self.lost)

    def go_on(self, time: int) -> None:
        self.true += time

    def stand_still(self, time: int) -> None:
        self.true += time
        self.lost += time


def quiet() -> Clocks:
    clocks = Clocks()
    for _ in range(20):
        for node in (1, 2):
            assert clocks.hear(node, delay=MS // 2) == 0
        clocks.go_on(100 * MS)
    return clocks


def test_each_moment_counts_once_whoever_shows_it() -> None:
    clocks = quiet()
    clocks.stand_still(6000 * MS)
    assert clocks.hear(1, delay=MS // 2) == 6000 * MS
    assert clocks.hear(2, delay=MS // 2) == 0
    assert clocks.hear(1, delay=MS // 2) == 0


def test_what_waited_shows_as_much_as_had_passed_when_it_was_sent() -> None:
    clocks = quiet()
    clocks.stand_still(6000 * MS)
    shown = [clocks.hear(1, delay=wait * MS) for wait in (5900, 5000, 1000, 1)]
    assert sum(shown) == 6000 * MS - MS // 2


def test_a_message_that_is_late_shows_nothing() -> None:
    clocks = quiet()
    assert clocks.hear(1, delay=300 * MS) == 0
    assert clocks.hear(1, delay=MS // 2) == 0


def test_another_incarnation_has_another_clock() -> None:
    clocks = quiet()
    clocks.stand_still(6000 * MS)
    assert clocks.hear(1, incarnation=2) == 0


def test_a_peer_that_stood_still_is_a_witness_again_after_two_windows() -> None:
    clocks = quiet()
    behind = 5000 * MS
    for _ in range(2 * WINDOW // (100 * MS) + 2):
        assert clocks.hear(1, delay=behind) == 0
        clocks.go_on(100 * MS)
    clocks.stand_still(700 * MS)
    assert clocks.hear(1, delay=behind) == 700 * MS


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(0, 20 * MS), st.integers(0, 200 * MS))))
def test_clocks_that_run_never_show_more_than_messages_were_late(
    heard: list[tuple[int, int, int]],
) -> None:
    clocks = quiet()
    assert sum(clocks.hear(node, delay) for node, delay, _ in heard) <= MS // 2
    for node, delay, pause in heard:
        clocks.go_on(pause)
        assert clocks.hear(node, delay) <= 20 * MS


@given(st.lists(st.integers(2 * MS, 900 * MS), max_size=5))
def test_all_that_was_lost_is_shown(pauses: list[int]) -> None:
    clocks = quiet()
    shown = 0
    for pause in pauses:
        clocks.stand_still(pause)
        shown += clocks.hear(1, delay=MS // 2) + clocks.hear(2, delay=MS // 2)
        clocks.go_on(100 * MS)
    assert shown == sum(pauses)


@pytest.mark.parametrize(
    ("clock", "stood"),
    [
        (1_000, 0),  # the daemon was started anew, 100 after it was heard
        (9_000, 8_000),
        (40, 0),  # the machine was, and is up for 40
        (500, 400),
        (100, 0),
    ],
)
def test_a_new_incarnation_is_a_witness(clock: int, stood: int) -> None:
    standstill = Standstill(0, 10_000)
    standstill.heed(1, 5, 900, now=100)
    assert standstill.succeed(1, 6, clock, heard_at=100, now=200) == stood
    assert standstill.noticed == stood
    assert standstill.leads[1].incarnation == 6
    assert standstill.heed(1, 6, clock + 7, now=207) == 0


def test_two_new_incarnations_show_one_standstill_once() -> None:
    standstill = Standstill(0, 10_000)
    standstill.heed(1, 5, 900, now=100)
    standstill.heed(2, 5, 300, now=100)
    assert standstill.succeed(1, 6, 9_000, heard_at=100, now=200) == 8_000
    assert standstill.succeed(2, 6, 8_400, heard_at=100, now=200) == 0
