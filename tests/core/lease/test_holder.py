"""What a holder may conclude from the grants it hears of, rule by rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.buckets import buckets_of
from clusterip.core.lease.holder import CONTACT, DRAINS, Holder
from clusterip.core.lease.timing import DEFAULT

THREE = frozenset({1, 2, 3})
L = DEFAULT.lease
QUORUM = [(THREE, 2)]
BOTH = CONTACT | DRAINS


def test_a_lease_counts_from_when_the_message_was_sent() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=100)
    h.acknowledge(1, 1, 0b1)
    h.acknowledge(2, 1, 0b1)
    assert h.ends(QUORUM) == [(100 + L, 0b1 | BOTH)]


def test_a_minority_proves_nothing() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=0)
    h.acknowledge(1, 1, 0b1)
    h.acknowledge(9, 1, 0b1)
    assert h.ends(QUORUM) == []


def test_a_late_message_revives_nothing() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=0)
    h.say(2, 0b0, 0, L, L, now=1)
    h.say(3, 0b1, 0, L, L, now=2)
    for node in (1, 2):
        h.acknowledge(node, 1, 0b1)
    assert h.ends(QUORUM) == [(L, BOTH)]
    for node in (1, 2):
        h.acknowledge(node, 3, 0b1)
    assert h.ends(QUORUM) == [(2 + L, 0b1 | BOTH)]


def test_the_majority_decides_when_a_lease_ends() -> None:
    h = Holder()
    for sequence in (1, 2, 3):
        h.say(sequence, 0b11, 0, L, L, now=sequence)
    h.acknowledge(1, 3, 0b11)
    h.acknowledge(2, 2, 0b01)
    h.acknowledge(3, 1, 0b11)
    assert h.ends(QUORUM) == [(2 + L, 0b01 | BOTH), (1 + L, 0b10)]


def test_two_voter_sets_must_both_agree() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=1)
    h.say(2, 0b1, 0, L, L, now=2)
    h.acknowledge(1, 2, 0b1)
    h.acknowledge(2, 1, 0b1)
    assert h.ends([(THREE, 2), (frozenset({1, 2, 3, 4}), 3)]) == []
    h.acknowledge(4, 2, 0b1)
    assert h.ends([(THREE, 2), (frozenset({1, 2, 3, 4}), 3)]) == [(1 + L, 0b1 | BOTH)]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 99), st.integers(0, 63)), max_size=12),
    st.integers(1, 5),
)
def test_lease_ends_are_what_counting_gives(proofs: list[tuple[int, int, int]], need: int) -> None:
    h = Holder()
    h.proofs = {voter: (until, buckets) for voter, until, buckets in proofs}
    voters = frozenset(range(1, 6))
    found = {b: end for end, mask in h.ends([(voters, need)]) for b in buckets_of(mask)}
    for bucket in range(1, 7):
        bit = 1 << bucket - 1
        ends = sorted((u for u, mask in h.proofs.values() if mask & bit), reverse=True)
        assert found.get(bucket) == (ends[need - 1] if len(ends) >= need else None)


def test_what_our_clock_stood_still_for_is_taken_off_every_lease() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L // 2, now=0)
    h.acknowledge(1, 1, 0b1)
    h.acknowledge(2, 1, 0b1)
    h.cut(10)
    assert h.ends(QUORUM) == [(L - 10, 0b1), (L // 2 - 10, BOTH)]
    h.acknowledge(3, 1, 0b1)
    h.acknowledge(2, 1, 0b1)
    assert h.ends(QUORUM) == [(L - 10, 0b1), (L // 2 - 10, BOTH)]
    h.say(2, 0b1, 0, 5 * L, 5 * L, now=20)
    for voter in (1, 2):
        h.acknowledge(voter, 2, 0b1, at_least=5 * L, said=1)
    h.cut(10)
    bound = {voter: until for voter, (until, _) in h.bindings.items()}
    assert h.ends(QUORUM, bound) == [(5 * L + 10, 0b1 | BOTH)]


def test_who_doubts_believes_what_acknowledges_something_later() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=0)
    for node in (1, 2, 3):
        h.acknowledge(node, 1, 0b1)
    assert h.sure(QUORUM)
    h.doubt()
    assert not h.sure(QUORUM)
    h.say(2, 0b1, 0, L, L, now=50)
    h.acknowledge(1, 2, 0b1)
    h.acknowledge(2, 1, 0b1)
    assert not h.sure(QUORUM)
    assert h.ends(QUORUM) == [(L, 0b1 | BOTH)]
    h.acknowledge(2, 2, 0b1)
    assert h.sure(QUORUM)
    assert not h.sure([*QUORUM, (frozenset({1, 7}), 2)])


def test_a_voter_that_restarts_counts_for_its_grace_to_what_drains_where_all_know() -> None:
    h = Holder()
    h.say(1, 0b1, 0, L, L, now=0)
    h.acknowledge(1, 1, 0b1)
    h.acknowledge(2, 1, 0b1, at_least=5 * L, said=7)
    assert h.ends(QUORUM) == [(L, 0b1 | BOTH)]
    h.say(2, 0b1, 0, 5 * L, 5 * L, now=2)
    h.acknowledge(1, 2, 0b1)
    # What it said first of the grace is what others may have heard of it.
    h.acknowledge(2, 2, 0b1, at_least=5 * L, said=8)
    assert h.bindings == {2: (5 * L, 7)}
    assert h.ends(QUORUM, {2: 5 * L}) == [(2 + 5 * L, 0b1 | BOTH)]
    h.say(3, 0b1, 0, L, L, now=4)
    h.acknowledge(1, 3, 0b1)
    h.acknowledge(2, 3, 0b1)
    assert h.bindings == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", *["acknowledge"] * 6, "cut"]),
        st.integers(1, 6),
        st.integers(0, 3),
        st.sampled_from([0b11, 0b11, 0b11, 0b01, 0b10, 0b00]),
    ),
    max_size=60,
)
QUORUMS = ([(frozenset(range(1, 7)), 4)], [(frozenset(range(1, 6)), 3), (frozenset({1, 2, 9}), 2)])


@given(STEPS, st.sampled_from(QUORUMS), st.booleans())
def test_what_is_remembered_of_the_ends_is_what_counting_gives(
    steps: list[tuple[str, int, int, int]],
    quorums: list[tuple[frozenset[int], int]],
    look_often: bool,
) -> None:
    h, sequence = Holder(), 0
    for now, (what, voter, ago, buckets) in enumerate(steps):
        if what == "say":
            sequence += 1
            h.say(sequence, buckets, 0, L, L - ago, now=10 * now)
        elif what == "acknowledge":
            h.acknowledge(voter, max(0, sequence - ago), buckets)
        else:
            h.cut(ago)
        anew = Holder()
        anew.proofs, anew.contact = dict(h.proofs), dict(h.contact)
        if look_often or voter % 2:
            assert h.ends(quorums) == anew.ends(list(quorums))


def test_of_many_voters_most_change_no_end() -> None:
    """The ends are counted anew once for each of our messages, not for each that acknowledges."""
    voters = [(frozenset(range(1, 33)), 17)]
    h = Holder()
    for sequence in range(1, 6):
        h.say(sequence, 0b1, 0, L, L, now=sequence)
        found = set()
        for voter in range(1, 33):
            h.acknowledge(voter, sequence, 0b1)
            found.add(id(h.ends(voters)))
        assert sequence == 1 or len(found) <= 3
    assert h.ends(voters) == [(5 + L, 0b1 | BOTH)]
