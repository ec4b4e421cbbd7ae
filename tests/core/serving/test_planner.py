"""The plan: fair within one bucket, as few moves as can be, never nobody."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import ceil
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from clusterip.core.serving.planner import Member, eligible, fair_shares, newcomers, plan

MEMBER = st.builds(
    Member,
    st.integers(1, 9),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
MEMBERS = st.lists(MEMBER, max_size=8, unique_by=lambda member: member.node)
OWNERS = st.lists(st.integers(0, 9), min_size=1, max_size=64)


def moves(owners: list[int], desired: tuple[int, ...], able: set[int]) -> int:
    """Count the buckets taken from a member that may keep some."""
    return sum(a != b and a in able for a, b in zip(owners, desired, strict=True))


def fair(desired: tuple[int, ...], members: list[Member]) -> bool:
    weights = sum(member.weight for member in members)
    counts = Counter(desired)
    return set(counts) <= {member.node for member in members} and all(
        abs(counts[member.node] * weights - len(desired) * member.weight) < weights
        for member in members
    )


@given(MEMBERS, OWNERS)
def test_every_share_is_within_one_bucket_of_fair(members: list[Member], owners: list[int]) -> None:
    able = eligible(members)
    desired = plan(members, owners)
    assert len(desired) == len(owners)
    new = {member.node for member in newcomers(members, able)}
    rest = tuple(owner for owner in desired if owner not in new)
    if able:
        assert fair(rest, able)
    else:
        assert set(desired) == {0}


@given(MEMBERS, st.integers(1, 64))
def test_fair_shares(members: list[Member], total: int) -> None:
    shares = fair_shares(members, total)
    able = {member.node for member in eligible(members)}
    assert set(shares) == {member.node for member in members}
    assert {node for node, share in shares.items() if share} == able
    assert round(sum(shares.values()), 6) == (total if able else 0)
    # Who is planned for has it, rounded down or up.
    counts = Counter(plan(members, [0] * total))
    assert all(abs(counts[node] - share) < 1 for node, share in shares.items())


@given(MEMBERS, OWNERS)
def test_a_newcomer_takes_nothing_and_keeps_a_fair_share(
    members: list[Member], owners: list[int]
) -> None:
    able = eligible(members)
    desired, had = Counter(plan(members, owners)), Counter(owners)
    new = [member for member in newcomers(members, able) if had[member.node]]
    weights = sum(member.weight for member in [*able, *new])
    for member in new:
        fair_share = ceil(len(owners) * member.weight / weights)
        assert desired[member.node] == min(had[member.node], fair_share)


@given(MEMBERS, OWNERS, st.randoms())
def test_the_order_of_the_members_does_not_matter(
    members: list[Member], owners: list[int], random: Random
) -> None:
    other = list(members)
    random.shuffle(other)
    assert plan(members, owners) == plan(other, owners)


@given(MEMBERS, OWNERS)
def test_a_plan_carried_out_is_kept(members: list[Member], owners: list[int]) -> None:
    desired = plan(members, owners)
    assert plan(members, list(desired)) == desired


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 4)).map(lambda pair: Member(*pair)),
        min_size=1,
        max_size=3,
        unique_by=lambda member: member.node,
    ),
    st.lists(st.integers(0, 4), min_size=1, max_size=7),
)
def test_no_fair_plan_moves_less(members: list[Member], owners: list[int]) -> None:
    nodes = {member.node for member in members}
    least = min(
        moves(owners, other, nodes)
        for other in product(nodes, repeat=len(owners))
        if fair(other, members)
    )
    assert moves(owners, plan(members, owners), nodes) == least


def test_golden() -> None:
    two = [Member(1), Member(2)]
    assert plan(two, [0, 0, 0, 0]) == (1, 1, 2, 2)
    assert plan([*two, Member(3)], [1, 1, 2, 2]) == (1, 1, 2, 3)
    assert Counter(plan([Member(1, weight=3), Member(2)], [2, 2, 2, 2])) == {1: 3, 2: 1}
    assert plan([Member(1, leaving=True), Member(2)], [1, 1, 2]) == (2, 2, 2)
    assert plan([Member(1, healthy=False), Member(2)], [1, 1, 2]) == (2, 2, 2)
    assert plan([Member(1, ready=False), Member(2)], [0, 2, 2]) == (2, 2, 2)


def test_all_unhealthy_keep_serving() -> None:
    sick = [Member(1, healthy=False), Member(2, healthy=False)]
    assert plan(sick, [1, 1, 2, 2]) == (1, 1, 2, 2)


def test_all_leaving_keep_serving() -> None:
    leaving = [Member(1, leaving=True), Member(2, leaving=True, healthy=False)]
    assert plan(leaving, [1, 2]) == (1, 2)


def test_a_newcomer_serves_where_all_are_newcomers() -> None:
    assert plan([Member(1, ready=False)], [0, 0]) == (1, 1)


def test_nothing_moves_while_all_who_began_anew_become_ready() -> None:
    for ready in product([False, True], repeat=3):
        members = [Member(node, ready=each) for node, each in enumerate(ready, 1)]
        assert plan(members, [1, 1, 2, 2, 3, 3]) == (1, 1, 2, 2, 3, 3)


def test_a_witness_owns_nothing() -> None:
    assert plan([Member(1, weight=0), Member(2)], [1, 0]) == (2, 2)
    assert plan([Member(1, weight=0)], [1, 0]) == (0, 0)
    assert plan([], [1, 0]) == (0, 0)
