"""What was not taken in: counted by sender, source and reason, and bounded."""

from __future__ import annotations

from clusterip.core.messages.rejected import MOST, OLD, Rejections


def test_by_sender_source_and_reason() -> None:
    all_ = Rejections()
    assert all_.latest() == []
    for now, what in enumerate([(7, "a", "x"), (7, "a", "y"), (7, "b", "x"), (8, "a", "x")]):
        all_.note(*what, now=now)
    all_.note(7, "a", "x", now=9)
    told = [(one.sender, one.source, one.reason, one.count, one.last) for one in all_.latest()]
    assert told == [
        (7, "a", "x", 2, 9),
        (8, "a", "x", 1, 3),
        (7, "b", "x", 1, 2),
        (7, "a", "y", 1, 1),
    ]


def test_a_flood_from_anywhere_does_not_grow() -> None:
    all_ = Rejections()
    for now in range(5):
        all_.note(7, "a", "x", now=now)
    for now in range(10 * MOST):
        all_.note(0, f"10.0.{now // 256}.{now % 256}", "bad magic", now=now)
    told = all_.latest()
    assert len(told) == MOST
    # What came more than once is kept.
    assert [one.count for one in told if one.sender == 7] == [5]
    assert told[0].last == 10 * MOST - 1


def test_what_is_old_goes_first() -> None:
    all_ = Rejections()
    for now in range(5):
        all_.note(7, "a", "x", now=now)
    for number in range(MOST):
        all_.note(0, str(number), "bad magic", now=OLD + 4)
    assert {one.sender for one in all_.latest()} == {0}
    assert len(all_.latest()) == MOST
