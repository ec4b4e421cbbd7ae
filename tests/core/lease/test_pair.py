"""One of two goes on alone: never beside the other, which may do so as well."""

from __future__ import annotations

import pytest

from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT, RELAXED, Timing
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, begins_anew, node, two


def run(lan: Lan, time: int) -> int:
    """Run; return for how long nobody served, ns, in which no bucket may be served twice."""
    ends, nobody = lan.now + time, 0
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        opened = [one.kernel.open for one in lan.nodes.values()]
        assert sum(opened) == (opened[0] | sum(opened[1:])) <= 0b1111, lan.now
        nobody += 0 if any(opened) else 5 * MS
    return nobody


@pytest.mark.long
@pytest.mark.parametrize("timing", [DEFAULT, RELAXED], ids=["default", "relaxed"])
@pytest.mark.parametrize("away", [100 * MS, 1500 * MS, 6 * SECOND])
@pytest.mark.parametrize("stopped", [False, True])
def test_the_other_is_deaf_when_it_begins_anew(timing: Timing, away: int, stopped: bool) -> None:
    """Its firewall lets nothing in, after a reboot say: it goes on alone, and nobody else does."""
    lan = two(20 * SECOND, timing=timing)
    if stopped:
        lan.nodes[2].leave(now=lan.now)
        lan.run(lan.now + 20 * MS)
    lan.cut = {(1, 2)}
    begins_anew(lan, 2, away)
    assert run(lan, 20 * SECOND) < 6 * SECOND
    assert lan.held() == {1: 0, 2: 0b1111}
    lan.cut = set()
    run(lan, 12 * SECOND)
    assert sorted(mask.bit_count() for mask in lan.held().values()) == [2, 2]


@pytest.mark.long
@pytest.mark.parametrize("heard", range(0, 1500, 100))
def test_the_other_goes_deaf_soon_after_it_began_anew(heard: int) -> None:
    lan = two(20 * SECOND)
    begins_anew(lan, 2, 3 * SECOND, mute=5 * SECOND)
    lan.run(lan.now + heard * MS)
    lan.cut = {(1, 2)}
    run(lan, 12 * SECOND)
    assert lan.held() == {1: 0, 2: 0b1111}


def test_one_that_is_heard_late_and_is_deaf() -> None:
    """How often it spoke says how long it runs."""
    lan = two(20 * SECOND)
    lan.cut = {(1, 2), (2, 1)}
    begins_anew(lan, 2, 3 * SECOND)
    lan.run(lan.now + 4500 * MS)
    lan.cut = {(1, 2)}
    run(lan, 6 * SECOND)
    assert lan.held() == {1: 0, 2: 0b1111}


def test_who_heard_that_the_other_has_a_third_does_not_go_on_alone() -> None:
    """That one serves with the third, though it is not heard for a while."""
    lan = two(20 * SECOND)
    lan.nodes[1].set_voters(frozenset({1, 2, 3}), now=lan.now)
    lan.run(lan.now + 50 * MS)
    del lan.nodes[1]
    lan.run(lan.now + 8 * SECOND)
    assert lan.held() == {2: 0}


@pytest.mark.parametrize("late", [100 * MS, 250 * MS, 600 * MS])
@pytest.mark.parametrize("known", [False, True])
def test_who_serves_alone_and_is_late_goes_on(late: int, known: bool) -> None:
    """Its lease is not over: the other cannot have begun to serve meanwhile."""
    lan = two(20 * SECOND)
    if not known:
        gone = lan.nodes.pop(1)
        lan.nodes[1] = Node(gone.state.config, incarnation=77, now=lan.now)
    del lan.nodes[2]
    lan.run(lan.now + 10 * SECOND)
    lan.now += late - 5 * MS  # nothing runs
    assert run(lan, 8 * SECOND) == 0
    assert lan.held() == {1: 0b1111}


@pytest.mark.parametrize("weight", [0, 1])
def test_the_other_was_started_anew_with_a_third(weight: int) -> None:
    """It holds nothing, and votes for the third, of which this one has not read yet."""
    lan = two(20 * SECOND)
    three = frozenset({1, 2, 3})
    gone = lan.nodes.pop(1)
    lan.run(lan.now + 3 * SECOND)
    changed = gone.state.config._replace(voters=three, weight=weight)
    lan.nodes[1] = Node(changed, incarnation=99, now=lan.now)
    lan.nodes[3], lan.events[3] = node(3, voters=three, alive=True, now=lan.now), []
    run(lan, 4 * SECOND)
    lan.now += 900 * MS  # nothing runs
    run(lan, 12 * SECOND)
    assert lan.held()[2] == 0
    assert lan.held()[1] | lan.held()[3] == 0b1111


@pytest.mark.parametrize("away", range(350, 850, 50))
def test_the_other_is_soon_back_and_has_no_vote_for_long(away: int) -> None:
    """Whoever goes on alone keeps all until then, though it had lost what it had."""
    lan = two(20 * SECOND)
    begins_anew(lan, 2, away * MS, mute=5 * SECOND)
    lan.run(lan.now + 600 * MS)
    ends = lan.now + 3 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == {1: 0b1111, 2: 0}
