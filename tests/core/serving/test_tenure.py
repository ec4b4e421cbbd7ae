"""Since when a node has its buckets, and from whom: across moves, drains and a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.buckets import buckets_of
from clusterip.core.leftovers import Had
from clusterip.core.serving.tenure import Masks, Tenure

ME, OTHER = 1, 2


def nobody(_: int) -> int:
    return 0


def other(_: int) -> int:
    return OTHER


def begun() -> Tenure:
    """Return that of a node that has nothing yet."""
    tenure = Tenure()
    tenure.look(Masks(), nobody, now=0)
    return tenure


def test_one_that_nobody_had() -> None:
    tenure = begun()
    tenure.look(Masks(asking=0b1), nobody, now=10)
    assert tenure.had == {1: Had(state="asking", since=10)}
    tenure.look(Masks(owned=0b1), nobody, now=20)
    tenure.look(Masks(owned=0b1), nobody, now=30)
    assert tenure.had == {1: Had(state="owned", since=20)}


def test_one_that_comes_and_goes() -> None:
    tenure = begun()
    tenure.look(Masks(asking=0b110), other, now=10)
    assert tenure.had[2] == Had(state="asking", since=10, of=OTHER)
    tenure.look(Masks(taking=0b110), other, now=20)
    # Whoever is said to have had it last by now, that is where it came from.
    tenure.look(Masks(owned=0b110), lambda _: ME, now=30)
    assert tenure.had[3] == Had(state="owned", since=30, of=OTHER)
    tenure.look(Masks(owned=0b100, draining=0b010), lambda _: ME, now=40)
    assert tenure.had == {
        2: Had(state="draining", since=40, of=OTHER),
        3: Had(state="owned", since=30, of=OTHER),
    }
    # It is wanted back, and drains yet.
    tenure.look(Masks(owned=0b100, draining=0b010, asking=0b010), nobody, now=50)
    assert tenure.had[2] == Had(state="draining", since=40, of=OTHER)
    tenure.look(Masks(owned=0b100), nobody, now=60)
    assert set(tenure.had) == {3}
    # It was here before: that is known by then.
    tenure.look(Masks(owned=0b110), lambda _: ME, now=70)
    assert tenure.had[2] == Had(state="owned", since=70, of=ME)


def test_what_was_known_when_it_was_asked_for_stays() -> None:
    tenure = begun()
    tenure.look(Masks(asking=0b1), other, now=10)
    tenure.look(Masks(owned=0b1), nobody, now=20)
    assert tenure.had[1].of == OTHER


def test_a_restart() -> None:
    before = begun()
    before.look(Masks(owned=0b1, draining=0b10), other, now=10)
    after = Tenure(before.had)
    after.look(Masks(owned=0b1, draining=0b10), nobody, now=99)
    assert after.had == before.had
    # What changed meanwhile is since now.
    after = Tenure(before.had)
    after.look(Masks(owned=0b10), nobody, now=99)
    assert after.had == {2: Had(state="owned", since=99, of=OTHER)}


def test_of_what_an_older_program_handed_over_little_is_known() -> None:
    after = Tenure()
    after.look(Masks(owned=0b1), lambda _: ME, now=99)
    assert after.had == {1: Had(state="owned", since=99, of=0)}


def test_a_state_of_another_program_is_since_now() -> None:
    after = Tenure({1: Had(state="borrowed", since=10, of=OTHER)})
    after.look(Masks(owned=0b1), nobody, now=99)
    assert after.had == {1: Had(state="owned", since=99, of=OTHER)}


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 4), max_size=12))
def test_every_bucket_is_told_once_and_in_its_state(steps: list[tuple[int, int, int, int]]) -> None:
    tenure = Tenure()
    for now, (owned, some, more, asked) in enumerate(steps):
        taking = some & ~owned
        held = owned | taking
        masks = Masks(owned, taking, more & ~held, asked & ~held)
        tenure.look(masks, other, now=now)
        states = {
            bucket: state
            for state, mask in zip(reversed(Masks._fields), reversed(masks), strict=True)
            for bucket in buckets_of(mask)
        }
        assert {bucket: one.state for bucket, one in tenure.had.items()} == states
        assert all(one.since <= now for one in tenure.had.values())
