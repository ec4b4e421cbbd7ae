"""Whether what a node says is heard."""

from __future__ import annotations

from clusterip.core.lease import speech
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, cluster, node

SOON = 3 * DEFAULT.interval + 10 * MS


def in_vain(lan: Lan) -> set[int]:
    """Return who speaks in vain."""
    return {me for me, one in lan.nodes.items() if speech.in_vain(one.state, lan.now)}


def test_nobody_speaks_in_vain_whom_all_hear() -> None:
    lan = cluster()
    for _ in range(100):
        lan.run(lan.now + 5 * MS)
        assert in_vain(lan) == set()


def test_who_begins_and_is_never_heard_does_not() -> None:
    lan = Lan(*(node(me) for me in THREE))
    lan.cut = {(2, 1), (3, 1)}
    for _ in range(800):
        lan.run(lan.now + 5 * MS)
        assert in_vain(lan) == set()


def test_who_lost_the_majority_does_before_its_lease_ends() -> None:
    lan = cluster()
    held = lan.held()
    lan.cut = {(a, b) for a in THREE for b in THREE if a != b}
    lan.run(lan.now + SOON)
    assert in_vain(lan) == THREE
    assert lan.held() == held
    lan.cut = set()
    lan.run(lan.now + SOON)
    assert in_vain(lan) == set()
    # It is so for as long as it lasts.
    lan.deaf = {1}
    lan.run(lan.now + 60 * SECOND)
    assert in_vain(lan) == {1}


def test_who_is_not_heard_by_one_that_speaks_does_for_a_while() -> None:
    lan = cluster()
    lan.cut = {(1, 2)}
    lan.run(lan.now + SOON + DEFAULT.interval)
    assert in_vain(lan) == {1}
    # That one is deaf, and told of.
    lan.run(lan.now + 2 * SECOND)
    assert in_vain(lan) == set()


def test_a_death_makes_nobody_speak_in_vain() -> None:
    lan = cluster()
    del lan.nodes[3]
    for _ in range(400):
        lan.run(lan.now + 5 * MS)
        assert in_vain(lan) == set()


def test_a_planned_restart_makes_nobody_speak_in_vain() -> None:
    lan = cluster()
    lan.nodes[2].prepare_restart(now=lan.now)
    lan.run(lan.now + 300 * MS)
    del lan.nodes[2]
    for _ in range(400):
        lan.run(lan.now + 5 * MS)
        assert in_vain(lan) == set()


def test_a_link_that_is_back_is_used_at_once() -> None:
    lan = cluster()
    lan.run(lan.now + DEFAULT.interval - lan.now % DEFAULT.interval)
    first = lan.nodes[1]
    while first.next_timer() < lan.now + 20 * MS:
        lan.run(lan.now + 5 * MS)
    first.speak(now=lan.now)
    assert first.next_timer() <= max(lan.now, first.state.voice.last_sent + DEFAULT.gap)


def test_who_may_go_on_alone_and_hears_nobody_speaks_to_all() -> None:
    pair = frozenset({1, 2})
    lan = Lan(*(node(me, voters=pair, alive=True) for me in pair))
    assert in_vain(lan) == pair
    lan.run(4 * SECOND)
    assert in_vain(lan) == set()
    del lan.nodes[2]
    lan.run(lan.now + 2 * SECOND)
    assert in_vain(lan) == {1}


def test_who_hears_another_as_itself_speaks_to_all() -> None:
    lan = cluster()
    lan.nodes[1].receive(lan.said(1)._replace(incarnation=99), now=lan.now)
    assert in_vain(lan) == {1}
    lan.run(lan.now + SECOND)
    assert in_vain(lan) == set()
