"""Which version is spoken: the highest that all do, whoever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.messages.versions import Spoken, Versions

RANGE = st.tuples(st.integers(1, 9), st.integers(0, 9)).map(
    lambda pair: Versions(pair[0], pair[0] + pair[1])
)


def test_as_hosts_are_upgraded_one_by_one() -> None:
    spoken = Spoken(Versions(1, 3), lasting=10)
    assert spoken.version(now=0) == 1
    spoken.hear(2, Versions(1, 2), now=0)
    spoken.hear(3, Versions(1, 1), now=0)
    assert (spoken.version(now=0), spoken.held_down_by(now=0)) == (1, [2, 3])
    spoken.hear(3, Versions(1, 3), now=1)
    assert (spoken.version(now=1), spoken.held_down_by(now=1)) == (2, [2])
    spoken.hear(2, Versions(2, 4), now=2)
    assert (spoken.version(now=2), spoken.held_down_by(now=2)) == (3, [])


def test_who_is_gone_holds_nothing_down() -> None:
    spoken = Spoken(Versions(1, 2), lasting=10)
    spoken.hear(2, Versions(1, 1), now=0)
    spoken.hear(3, Versions(1, 2), now=5)
    assert spoken.version(now=9) == 1
    assert (spoken.version(now=10), spoken.held_down_by(now=10)) == (2, [])


@given(RANGE, st.lists(RANGE, min_size=1, max_size=5))
def test_all_who_have_one_in_common_speak_it(own: Versions, others: list[Versions]) -> None:
    """And each of them finds the same."""
    everybody = [own, *others]
    lowest = max(speaks.lowest for speaks in everybody)
    highest = min(speaks.highest for speaks in everybody)
    found = set()
    for me, mine in enumerate(everybody):
        spoken = Spoken(mine, lasting=1)
        for node, speaks in enumerate(everybody):
            if node != me:
                spoken.hear(node, speaks, now=0)
        found.add(spoken.version(now=0))
        assert mine.lowest <= spoken.version(now=0) <= mine.highest
    if lowest <= highest:
        assert found == {highest}


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3), RANGE, st.integers(0, 7)), max_size=30),
    RANGE,
)
def test_what_is_remembered_is_what_would_be_found(
    steps: list[tuple[bool, int, Versions, int]], own: Versions
) -> None:
    spoken, now = Spoken(own, lasting=10), 0
    for heard, node, speaks, passed in steps:
        now += passed
        (spoken.hear if heard else spoken.claim)(node, speaks, now=now)
        assert spoken.version(now=now) == spoken._find_version(now)
