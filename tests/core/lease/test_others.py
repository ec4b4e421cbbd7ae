"""Who else may answer packets, while the sets of voters are not the same on all nodes."""

from __future__ import annotations

from clusterip.core.lease import others
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, cluster, node

D = DEFAULT.promise(DEFAULT.lease)
FOUR = THREE | {4}


def joined() -> Lan:
    """Return three nodes that serve, and a fourth of which the first does not know."""
    lan = cluster()
    for me in (2, 3):
        lan.nodes[me].set_voters(FOUR, now=lan.now)
    lan.nodes[4] = node(4, now=lan.now, voters=FOUR)
    lan.events[4] = []
    lan.run(lan.now + SECOND)
    return lan


def test_the_voters_tell_of_one_that_was_added() -> None:
    lan = joined()
    first = lan.nodes[1]
    assert others.strangers(first.state, lan.now) == {4}
    assert not others.strangers(lan.nodes[2].state, lan.now)
    first.set_voters(FOUR, now=lan.now)
    assert not others.strangers(first.state, lan.now)


def test_until_they_heard_nothing_of_it_for_long() -> None:
    lan = joined()
    lan.deaf.add(4)
    lan.run(lan.now + 2 * D - 200 * MS)
    assert others.strangers(lan.nodes[1].state, lan.now) == {4}
    lan.run(lan.now + 200 * MS)
    assert not others.strangers(lan.nodes[1].state, lan.now)


def test_of_one_that_runs_twice_others_may_hear_more() -> None:
    lan = cluster()
    first = lan.nodes[1]
    third = first.state.hearing.peers.all[3]
    assert not others.outrun(first.state, 3, third, lan.now)
    told = lan.said(2)
    first.receive(
        told._replace(
            sequence=told.sequence + 1, heard=Echoes.said((Heard(1, 10, 9), Heard(3, 99, 7)))
        ),
        now=lan.now,
    )
    lan.cut.add((2, 1))
    lan.run(lan.now + 200 * MS)
    assert third.incarnation == 30
    assert third.heard_at > first.state.hearing.indirect.told_at(2, 3)
    assert others.outrun(first.state, 3, third, lan.now)


def test_they_name_for_a_while_who_was_removed() -> None:
    lan = Lan(*(node(me, voters=FOUR) for me in FOUR))
    lan.run(4 * SECOND)
    for me in THREE:
        lan.nodes[me].set_voters(THREE, now=lan.now)
    lan.run(lan.now + 300 * MS)
    forgotten = lan.now
    assert all(not lan.nodes[me].state.votes.voters.before for me in THREE)
    assert lan.said(4).heard_of(1, 10) > 0

    def named() -> list[bool]:
        return [one.acknowledged for one in lan.said(2).heard if one.node == 4]

    assert named() == [False], "but not acknowledged"
    assert others.strangers(lan.nodes[1].state, lan.now) == {4}
    lan.run(forgotten + 2 * D)
    assert named() == []
    lan.run(lan.now + 2 * D)
    assert not others.strangers(lan.nodes[1].state, lan.now)


def test_but_not_who_was_gone_by_then() -> None:
    lan = Lan(*(node(me, voters=FOUR) for me in FOUR))
    lan.run(4 * SECOND)
    del lan.nodes[4]
    lan.run(lan.now + 2 * D)
    for me in THREE:
        lan.nodes[me].set_voters(THREE, now=lan.now)
    lan.run(lan.now + 300 * MS)
    assert all(4 not in {entry.node for entry in lan.said(me).heard} for me in THREE)
    assert not any(others.strangers(lan.nodes[me].state, lan.now) for me in THREE)


def test_nothing_is_told_of_later_than_a_majority_told_it() -> None:
    lan = cluster(voters=frozenset({1, 2, 3}))
    lan.cut = {(2, 1)}
    lan.run(lan.now + 300 * MS)
    taker = lan.nodes[1]
    until = others.told_until(taker.state, 2, lan.now)
    assert 0 < lan.now - until <= 2 * DEFAULT.interval, "the third tells"
    lan.cut |= {(3, 1)}
    since = lan.now
    lan.run(lan.now + 200 * MS)
    assert others.told_until(taker.state, 2, lan.now) <= since, "we alone are none"


def test_a_voter_that_was_just_removed_tells_nothing() -> None:
    lan = cluster()
    first = lan.nodes[1]
    assert 3 in first.state.hearing.heard
    first.state.hearing.peers.keep(frozenset({1, 2}), (), until=lan.now)
    assert others.told_until(first.state, 2, lan.now) <= lan.now
