"""When a drain is over: against a plain reading of what was counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.serving.drains import Drains, Over

TIMEOUT = 100


def test_it_is_over_when_nothing_was_seen_twice() -> None:
    drains = Drains()
    drains.begin(3, now=0)
    assert drains.counted({3: 2, 4: 9}, began=10, timeout=TIMEOUT, now=11) == []
    assert drains.counts == {3: 2}
    assert drains.counted({}, began=20, timeout=TIMEOUT, now=21) == []
    assert drains.counted({}, began=30, timeout=TIMEOUT, now=31) == [Over(3, 0)]
    assert drains.cut == 0


def test_one_that_was_overlooked_begins_it_anew() -> None:
    drains = Drains({3: 0})
    for began, counts in ((10, {}), (20, {3: 1}), (30, {})):
        assert drains.counted(counts, began=began, timeout=TIMEOUT, now=began) == []
    assert drains.counted({}, began=40, timeout=TIMEOUT, now=40) == [Over(3, 0)]


def test_a_count_that_began_before_says_nothing() -> None:
    drains = Drains()
    drains.begin(1, now=50)
    for began in (10, 50):
        assert drains.counted({}, began=began, timeout=TIMEOUT, now=60) == []
    assert drains.counts == {}
    # Nor does it end one that had its time by the clock only.
    assert drains.counted({1: 5}, began=50, timeout=TIMEOUT, now=500) == []


def test_connections_have_their_time() -> None:
    drains = Drains({1: 0, 2: 60})
    counts = {1: 5, 2: 7}
    assert drains.counted(counts, began=70, timeout=TIMEOUT, now=TIMEOUT - 1) == []
    assert drains.counted(counts, began=70, timeout=TIMEOUT, now=TIMEOUT) == [Over(1, 5)]
    assert drains.cut == 5


def test_flows_that_are_kept_hold_it_up() -> None:
    drains = Drains({1: 0})
    for began in (10, 20, 30, TIMEOUT + 1):
        assert drains.counted({1: 1}, {1: 0b1}, began=began, timeout=TIMEOUT, now=began) == []
    assert drains.counts == {1: 1}
    assert drains.counted({1: 1}, {}, began=200, timeout=TIMEOUT, now=200) == [Over(1, 1)]


def test_what_nobody_can_count_has_its_time() -> None:
    drains = Drains({1: 0, 2: 0, 3: 0, 4: 60})
    assert drains.counted({1: 5}, {}, began=10, timeout=TIMEOUT, now=10) == []
    for now in (20, 30, TIMEOUT - 1):
        assert drains.counted(None, {2: 0b1}, began=now, timeout=TIMEOUT, now=now) == []
    assert drains.counts == {1: 5, 2: 0, 3: 0}
    over = drains.counted(None, {2: 0b1}, began=TIMEOUT, timeout=TIMEOUT, now=TIMEOUT)
    assert over == [Over(1, 5), Over(3, 0)]


def test_nobody_knowing_is_not_seeing_none() -> None:
    drains = Drains({1: 0})
    for began, counts in ((10, {}), (20, None), (30, {})):
        assert drains.counted(counts, began=began, timeout=TIMEOUT, now=began) == []
    assert drains.counted({}, began=40, timeout=TIMEOUT, now=40) == [Over(1, 0)]


def test_what_ended_is_forgotten() -> None:
    drains = Drains({1: 0})
    drains.counted({}, began=10, timeout=TIMEOUT, now=10)
    drains.end(1)
    assert (drains.since, drains.counts) == ({}, {})
    assert drains.counted({}, began=20, timeout=TIMEOUT, now=20) == []
    # Begun again, it has to be seen empty twice again.
    drains.begin(1, now=30)
    assert drains.counted({}, began=40, timeout=TIMEOUT, now=40) == []
    drains.end(2)


def test_what_was_handed_over_is_a_copy() -> None:
    since = {1: 5}
    drains = Drains(since)
    drains.begin(2, now=6)
    assert since == {1: 5}
    assert drains.since == {1: 5, 2: 6}


class Oracle:
    """Keeps all that was counted of each bucket since it began to drain, and judges by it."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, list[int | None]]] = {}

    def counted(self, counts: dict[int, int] | None, began: int, now: int) -> list[Over]:
        found = []
        for bucket, (since, every) in self.seen.items():
            if began <= since:
                continue
            every.append(None if counts is None else counts.get(bucket, 0))
            if every[-1] != 0 and now - since >= TIMEOUT:
                known = [0, *(one for one in every if one is not None)]
                found.append(Over(bucket, known[-1]))
            elif every[-2:] == [0, 0]:
                found.append(Over(bucket, 0))
        return found


BUCKETS = st.integers(1, 3)
COUNTS = st.none() | st.dictionaries(BUCKETS, st.integers(0, 2))
Step = tuple[int | None, int | None, dict[int, int] | None, int]


@given(st.lists(st.tuples(st.none() | BUCKETS, st.none() | BUCKETS, COUNTS, st.integers(0, 30))))
def test_any_course(steps: list[Step]) -> None:
    drains, oracle, cut = Drains(), Oracle(), 0
    for number, (begun, ended, counts, taking) in enumerate(steps):
        now = 10 * number
        if ended:
            drains.end(ended)
            oracle.seen.pop(ended, None)
        if begun and begun not in oracle.seen:
            drains.begin(begun, now=now - 5)
            oracle.seen[begun] = (now - 5, [])
        expected = oracle.counted(counts, now - taking, now)
        assert drains.counted(counts, began=now - taking, timeout=TIMEOUT, now=now) == expected
        for over in expected:
            drains.end(over.bucket)
            del oracle.seen[over.bucket]
            cut += over.cut
        assert drains.since == {bucket: since for bucket, (since, _) in oracle.seen.items()}
        assert drains.cut == cut
