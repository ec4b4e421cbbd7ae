"""Voter sets change one voter at a time, and only neighbours work together."""

from __future__ import annotations

import pytest

from clusterip.core.errors import RefusedError
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message, digest_of_voters

THREE = frozenset({1, 2, 3})


def said_by(node: int, voters: frozenset[int], previous: frozenset[int] = frozenset()) -> Message:
    before = digest_of_voters(previous) if previous else 0
    return Message(node, node, 1, 1, digest_of_voters(voters), before)


def test_one_voter_at_a_time_and_all_have_the_last_change() -> None:
    four = THREE | {4}
    one = VoterSet(THREE)
    all_have = {node: said_by(node, THREE) for node in (2, 3)}
    with pytest.raises(RefusedError, match="more than one"):
        one.successor(THREE | {4, 5}, all_have, 1)
    with pytest.raises(RefusedError, match="not reached"):
        one.successor(four, {2: said_by(2, THREE)}, 1)
    with pytest.raises(RefusedError, match="not reached"):
        one.successor(four, {2: said_by(2, THREE), 3: said_by(3, THREE, frozenset({2, 3}))}, 1)
    two = one.successor(four, {2: said_by(2, THREE), 3: said_by(3, four, THREE)}, 1)
    assert two.quorums == [(four, 3), (THREE, 2)]
    with pytest.raises(RefusedError, match="not reached"):
        two.successor(THREE | {4, 5}, {n: said_by(n, four) for n in (2, 3, 4)}, 1)
    assert not two.settled({n: said_by(n, four) for n in (2, 3)}, 1)
    assert two.settled({n: said_by(n, four) for n in (2, 3, 4)}, 1)


def test_only_neighbours_are_near() -> None:
    four, five = THREE | {4}, THREE | {4, 5}
    ours = VoterSet(four, THREE)
    assert ours.near(said_by(2, four))
    assert ours.near(said_by(2, THREE))
    assert ours.near(said_by(2, five, four))
    assert not ours.near(said_by(2, five))
    assert not VoterSet(THREE).near(said_by(2, four))
