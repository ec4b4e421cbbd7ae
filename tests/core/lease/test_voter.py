"""What a voter promises, rule by rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.lease.timing import DEFAULT
from clusterip.core.lease.voter import Voter
from clusterip.core.units import SECOND

D = DEFAULT.promise(DEFAULT.lease)
A, B = (1, 10), (2, 20)


def voter() -> Voter:
    return Voter(DEFAULT, 0)


def test_a_bucket_is_given_to_one() -> None:
    v = voter()
    v.hear(A, 0b11, 0, renews=True, now=1)
    v.give(now=1)
    v.hear(B, 0b110, 0, renews=True, now=2)
    v.give(now=2)
    assert (v.granted(A), v.granted(B)) == (0b11, 0b100)


def test_a_release_frees_a_bucket_for_who_waits() -> None:
    v = voter()
    v.hear(A, 0b11, 0, renews=True, now=1)
    v.give(now=1)
    v.hear(B, 0b10, 0, renews=True, now=2)
    assert not v.give(now=2)
    v.hear(A, 0b01, 0, renews=True, now=3)
    assert v.give(now=3)
    assert (v.granted(A), v.granted(B)) == (0b01, 0b10)


def test_silence_frees_a_bucket_after_d() -> None:
    v = voter()
    v.hear(A, 0b1, 0, renews=True, now=1)
    v.give(now=1)
    v.expire(now=D)
    assert v.granted(A) == 0b1
    v.expire(now=D + 1)
    assert v.granted(A) == 0
    assert v.next_expiry() is None


def test_a_longer_grace_is_kept_whatever_is_said_later() -> None:
    v = voter()
    v.hear(A, 0b1, 5 * SECOND, renews=True, now=0)
    v.give(now=0)
    v.hear(A, 0b1, 0, renews=True, now=1)
    v.expire(now=5 * SECOND)
    assert v.granted(A) == 0b1
    v.expire(now=DEFAULT.promise(5 * SECOND))
    assert v.granted(A) == 0


def test_a_new_incarnation_waits_for_the_old_one() -> None:
    v = voter()
    v.hear(A, 0b1, 0, renews=True, now=0)
    v.give(now=0)
    v.hear((1, 11), 0b1, 0, renews=True, now=5)
    v.give(now=5)
    assert v.granted((1, 11)) == 0
    v.expire(now=D)
    v.give(now=D)
    assert v.granted((1, 11)) == 0b1


def test_a_mute_voter_gives_nothing() -> None:
    v = Voter(DEFAULT, 100)
    v.hear(A, 0b1, 0, renews=True, now=1)
    assert not v.give(now=99)
    assert v.give(now=100)


def test_who_is_out_of_reach_may_release_but_not_renew() -> None:
    v = voter()
    v.hear(A, 0b11, 0, renews=True, now=0)
    v.give(now=0)
    v.hear(A, 0b10, 0, renews=False, now=D - 1)
    assert v.granted(A) == 0b10
    v.expire(now=D)
    assert v.granted(A) == 0


STEP = st.tuples(
    st.sampled_from([A, B, (1, 11), (3, 30)]),
    st.integers(0, 255),
    st.sampled_from([0, 5 * SECOND]),
    st.booleans(),
    st.integers(0, D),
)


@given(st.lists(STEP, max_size=40))
def test_no_bucket_is_ever_promised_twice(
    steps: list[tuple[tuple[int, int], int, int, bool, int]],
) -> None:
    v = voter()
    now = 0
    for grantee, want, grace, renews, wait in steps:
        now += wait
        v.expire(now=now)
        v.hear(grantee, want, grace, renews=renews, now=now)
        v.give(now=now)
        union = 0
        for promise in v.promises.values():
            assert not union & promise.buckets
            union |= promise.buckets
        assert union == v.taken
