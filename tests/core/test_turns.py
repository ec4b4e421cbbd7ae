"""When what ends again and again may begin anew."""

from __future__ import annotations

from clusterip.core.turns import AT_ONCE, LONG_SECONDS, Turns


def test_more_and_more_seldom_down_to_once_a_minute() -> None:
    turns, now, waits = Turns(), 100.0, []
    for _ in range(2000):
        turns.ended(0.1, now)
        waits.append(turns.at - now)
        now = turns.at + 0.1
    waits = [round(one, 6) for one in waits]
    assert waits[:10] == [0, 0, 1, 2, 4, 8, 16, 32, LONG_SECONDS, LONG_SECONDS]
    assert set(waits[10:]) == {LONG_SECONDS}


def test_it_is_too_often_when_it_is_waited() -> None:
    turns = Turns()
    for number in range(1, 5):
        turns.ended(0.1, 0.0)
        assert turns.too_many == (number > AT_ONCE) == (turns.at > 0)


def test_what_lived_for_long_begins_at_once() -> None:
    turns = Turns()
    for _ in range(10):
        turns.ended(0.1, 0.0)
    turns.ended(LONG_SECONDS, 500.0)
    assert (turns.at, turns.too_many) == (500.0, False)
