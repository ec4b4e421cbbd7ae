"""What is to be seen of a node, held against what the node does."""

from __future__ import annotations

from clusterip.core.buckets import buckets_of
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.versions import SPOKEN
from clusterip.core.serving.status import Standing
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, cluster, node


def standing(lan: Lan, seen_by: int, of: int) -> Standing:
    (one,) = (s for s in lan.nodes[seen_by].snapshot(now=lan.now).nodes if s.node == of)
    return one


def test_before_anything_was_heard() -> None:
    seen = node().snapshot(now=0)
    assert (seen.incarnation, seen.owned, seen.asking, seen.lease) == (10, [], [], 0)
    flags = (seen.leaving, seen.restarting, seen.alone, seen.settling)
    assert flags == (False,) * 4
    assert [one.node for one in seen.nodes] == [1, 2, 3]
    assert [one for one in seen.nodes if one.me] == [
        Standing(
            1,
            me=True,
            heard=None,
            alive=True,
            agrees=True,
            healthy=True,
            weight=1,
            speaks=SPOKEN,
            fair_share=4.0,
            config=5,
        )
    ]
    for other in seen.nodes[1:]:
        assert other == Standing(other.node, me=False, heard=None, alive=False, agrees=True)
        assert other.weight is None


def test_three_that_share() -> None:
    lan = cluster()
    seen = {me: n.snapshot(now=lan.now) for me, n in lan.nodes.items()}
    held = [bucket for one in seen.values() for bucket in one.owned]
    assert sorted(held) == [1, 2, 3, 4]
    for me, one in seen.items():
        assert one.taking == one.draining == one.asking == []
        assert DEFAULT.lease - 2 * DEFAULT.interval < one.lease <= DEFAULT.lease
        for of in one.nodes:
            assert of.me is (of.node == me)
            assert of.alive
            assert of.agrees
            assert of.healthy
            assert of.ready
            assert of.held == seen[of.node].owned
            # Each voter promised each bucket to the one that holds it.
            assert of.grants == {node: other.owned for node, other in seen.items() if other.owned}
            assert of.hears == [node for node in seen if node != of.node]
            assert not of.deaf
            assert of.heard is None if of.me else of.heard is not None
            assert (of.heard or 0) <= DEFAULT.interval


def test_one_that_died_holds_nothing_any_more() -> None:
    lan = cluster()
    lan.deaf.add(2)
    lan.run(lan.now + 2 * SECOND)
    dead = standing(lan, 1, 2)
    assert not dead.alive
    assert dead.heard is not None
    assert 2 * SECOND - DEFAULT.interval <= dead.heard <= 2 * SECOND + DEFAULT.interval
    assert dead.held == dead.draining == []
    assert dead.grants == {}
    # The one cut off sees the same of the others, and holds nothing.
    seen = lan.nodes[2].snapshot(now=lan.now)
    assert (seen.owned, seen.lease) == ([], 0)
    assert not seen.asking
    assert not seen.alone


def test_a_drain_from_both_sides() -> None:
    lan = cluster()
    had = list(buckets_of(lan.held()[2]))
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    mine = lan.nodes[2].snapshot(now=lan.now)
    assert mine.leaving
    assert (mine.owned, mine.draining) == ([], had)
    assert mine.lease > 0
    taking = [bucket for me in (1, 3) for bucket in lan.nodes[me].snapshot(now=lan.now).taking]
    assert sorted(taking) == had
    seen = standing(lan, 1, 2)
    assert seen.leaving
    assert (seen.held, seen.draining) == ([], had)


def test_health_and_weight_as_the_others_see_them() -> None:
    lan = cluster()
    lan.nodes[2].set_health(False, now=lan.now)
    lan.nodes[3].set_weight(7, now=lan.now)
    lan.run(lan.now + SECOND)
    assert not standing(lan, 1, 2).healthy
    assert standing(lan, 1, 3).weight == 7
    assert not standing(lan, 2, 2).healthy
    assert standing(lan, 3, 3).weight == 7


def test_another_configuration() -> None:
    lan = Lan(node(1), node(2), node(3, config=6))
    lan.run(4 * SECOND)
    assert not standing(lan, 1, 3).agrees
    assert not standing(lan, 1, 3).alive
    assert standing(lan, 1, 2).agrees
    assert not standing(lan, 3, 1).agrees


def test_alone_of_two() -> None:
    both = frozenset({1, 2})
    lan = Lan(*(node(me, voters=both, alive=True) for me in both))
    lan.run(4 * SECOND)
    assert not lan.nodes[1].snapshot(now=lan.now).alone
    lan.deaf.add(2)
    lan.run(lan.now + 2 * SECOND)
    seen = lan.nodes[1].snapshot(now=lan.now)
    assert seen.alone
    assert seen.owned == [1, 2, 3, 4]


def test_one_voter_is_not_alone() -> None:
    lan = Lan(node(1, voters=frozenset({1})))
    lan.run(3 * SECOND)
    seen = lan.nodes[1].snapshot(now=lan.now)
    assert seen.owned == [1, 2, 3, 4]
    assert not seen.alone


def test_a_restart_is_seen_while_it_is_announced() -> None:
    lan = cluster()
    lan.nodes[2].prepare_restart(now=lan.now)
    assert lan.nodes[2].snapshot(now=lan.now).restarting
    lan.nodes[2].cancel_restart(now=lan.now)
    assert not lan.nodes[2].snapshot(now=lan.now).restarting


def test_a_change_of_the_voters_settles() -> None:
    lan = cluster()
    four = frozenset({1, 2, 3, 4})
    lan.nodes[1].set_voters(four, now=lan.now)
    lan.run(lan.now + 200 * MS)
    seen = lan.nodes[1].snapshot(now=lan.now)
    assert seen.settling
    assert [one.node for one in seen.nodes] == [1, 2, 3, 4]
    for me in (2, 3):
        lan.nodes[me].set_voters(four, now=lan.now)
    lan.nodes[4] = node(4, voters=four, now=lan.now)
    lan.events[4] = []
    lan.run(lan.now + 2 * SECOND)
    assert not lan.nodes[1].snapshot(now=lan.now).settling


def test_fair_shares() -> None:
    lan = cluster()
    lan.nodes[3].set_weight(2, now=lan.now)
    lan.run(lan.now + SECOND)
    for me in (1, 2, 3):
        assert [standing(lan, me, of).fair_share for of in (1, 2, 3)] == [1.0, 1.0, 2.0]
    lan.nodes[3].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    for me in (1, 2, 3):
        assert [standing(lan, me, of).fair_share for of in (1, 2, 3)] == [2.0, 2.0, 0.0]
    lan.deaf.add(3)
    lan.nodes[2].set_weight(0, now=lan.now)
    lan.run(lan.now + 2 * SECOND)
    assert [standing(lan, 1, of).fair_share for of in (1, 2, 3)] == [4.0, 0.0, 0.0]


def test_keys() -> None:
    lan = cluster()
    lan.nodes[2].state.voice.keys = 0b110
    lan.run(lan.now + SECOND)
    for me in (1, 2, 3):
        assert [standing(lan, me, of).keys for of in (1, 2, 3)] == [0, 0b110, 0]


def test_one_that_is_to_stop_and_one_that_restarts_are_seen_by_the_others() -> None:
    lan = cluster()
    lan.nodes[1].own.ends = True
    lan.nodes[1].drain(now=lan.now)
    lan.nodes[2].prepare_restart(now=lan.now)
    lan.run(lan.now + 100 * MS)
    assert [(standing(lan, 3, one).ends, standing(lan, 3, one).restarts) for one in (1, 2, 3)] == [
        (True, False),
        (False, True),
        (False, False),
    ]
