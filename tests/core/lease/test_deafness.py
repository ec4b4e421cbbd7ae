"""Who speaks and does not hear us: what is told, and what such a node asks for."""

from __future__ import annotations

import pytest

from clusterip.core.lease import contact
from clusterip.core.lease.deafness import Deafness
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.serving.actions import Alarm, AlarmKind
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, cluster, node

D = DEFAULT.promise(DEFAULT.lease)
TO_FIRST = {(2, 1), (3, 1)}


def deaf_alarms(lan: Lan, me: int) -> list[Alarm]:
    events = (event for event in lan.events[me] if isinstance(event, Alarm))
    return [event for event in events if event.kind is AlarmKind.DEAF]


def test_one_is_told_of_once_and_again_when_it_heard_meanwhile() -> None:
    deafness = Deafness(10)
    assert deafness.look({2: False, 3: True}, now=100) == []
    assert deafness.look({2: False, 3: True}, now=109) == []
    assert deafness.deaf(now=109) == set()
    assert deafness.look({2: False, 3: True}, now=110) == [2]
    assert deafness.deaf(now=110) == {2}
    assert deafness.look({2: False, 3: False}, now=111) == []
    assert deafness.look({2: True, 3: False}, now=121) == [3]
    assert deafness.look({2: False}, now=130) == []
    assert deafness.look({2: False}, now=140) == [2]


def test_who_is_heard_by_nobody_from_its_start_on_knows_that_the_others_hear_one_another() -> None:
    lan = Lan(*(node(me) for me in THREE))
    lan.cut = {(3, 1), (3, 2)}
    lan.run(6 * SECOND)
    assert lan.held()[1] | lan.held()[2] == 0b1111
    assert deaf_alarms(lan, 3) == [Alarm(AlarmKind.DEAF, 1, 1), Alarm(AlarmKind.DEAF, 2, 1)]
    seen = {one.node: one for one in lan.nodes[3].snapshot(now=lan.now).nodes}
    assert [seen[1].hears, seen[2].hears] == [[2], [1]]
    # What it heard long ago says nothing.
    lan.deaf = {3}
    lan.run(lan.now + 2 * SECOND)
    seen = {one.node: one for one in lan.nodes[3].snapshot(now=lan.now).nodes}
    assert [seen[1].hears, seen[2].hears] == [[], []]


@pytest.mark.parametrize("early", [True, False])
def test_who_hears_nobody_asks_for_nothing_and_is_named(early: bool) -> None:
    lan = Lan(*(node(me) for me in THREE))
    lan.cut = set(TO_FIRST) if early else set()
    lan.run(4 * SECOND)
    lan.cut = set(TO_FIRST)
    lan.run(lan.now + 2 * SECOND)
    first = lan.nodes[1]
    assert (lan.held()[1], first.state.plan.intent, contact.is_ready(first.state, lan.now)) == (
        0,
        0,
        False,
    )
    assert lan.held()[2] | lan.held()[3] == 0b1111
    for me in (2, 3):
        assert lan.nodes[me].kernel.taking == 0
        assert lan.nodes[me].state.votes.voter.granted((1, 10)) == 0
        assert deaf_alarms(lan, me) == [Alarm(AlarmKind.DEAF, 1, 0)]
        seen = {one.node: one for one in lan.nodes[me].snapshot(now=lan.now).nodes}
        assert seen[1].deaf
        assert seen[1].hears == []
        assert not seen[1].alive
        assert [seen[me].hears, seen[me].deaf] == [sorted(THREE - {me}), False]
        assert not seen[5 - me].deaf
    (mine,) = (one for one in first.snapshot(now=lan.now).nodes if one.me)
    assert mine.deaf
    assert mine.hears == []
    assert deaf_alarms(lan, 1) == []

    lan.cut = set()
    lan.run(lan.now + 4 * SECOND)
    assert lan.held()[1] != 0
    assert not any(one.deaf for n in lan.nodes.values() for one in n.snapshot(now=lan.now).nodes)


def test_who_does_not_hear_one_of_them_is_named_by_that_one() -> None:
    lan = cluster()
    lan.cut = {(2, 1)}
    lan.run(lan.now + 3 * SECOND)
    assert deaf_alarms(lan, 2) == [Alarm(AlarmKind.DEAF, 1, 1)]
    assert deaf_alarms(lan, 3) == deaf_alarms(lan, 1) == []
    (seen,) = (one for one in lan.nodes[3].snapshot(now=lan.now).nodes if one.node == 1)
    assert (seen.hears, seen.deaf) == ([3], False)
    assert sum(lan.held().values()) == 0b1111


def test_a_voter_acknowledges_only_who_hears_it() -> None:
    lan = cluster()
    lan.cut = {(2, 1)}
    had = lan.held()[1]
    heard = lan.now
    lan.run(heard + DEFAULT.lease - DEFAULT.interval)
    second = lan.nodes[2]
    assert second.state.votes.voter.granted((1, 10)) == had
    assert second.state.hearing.peers.all[1].hears_us
    lan.run(heard + DEFAULT.lease + 2 * DEFAULT.interval)
    last = next(message for message in reversed(lan.sent) if message.sender == 2)
    (echo,) = (one for one in last.heard if one.node == 1)
    assert echo.known
    assert not echo.acknowledged
    assert last.heard_of(1, 10) == echo.sequence
    assert last.acknowledged(1, 10) == 0
    assert last.granted_to(1) == 0
    # What it promised before stands for D, and no longer.
    assert second.state.votes.voter.granted((1, 10)) == had
    lan.run(heard + DEFAULT.lease + D + DEFAULT.interval)
    assert second.state.votes.voter.granted((1, 10)) == 0
    assert lan.held()[1] == had, "the third and its own vote are enough"


def test_a_planned_restart_makes_nobody_deaf() -> None:
    lan = cluster()
    held = lan.held()
    lan.nodes[2].prepare_restart(now=lan.now)
    lan.run(lan.now + 300 * MS)
    old = lan.nodes.pop(2)
    handed = HandOver.decode(old.hand_over())
    lan.run(lan.now + 3 * SECOND)
    lan.nodes[2] = Node(old.state.config, handover=handed, now=lan.now)
    lan.run(lan.now + 6 * SECOND)
    assert lan.held() == held
    assert not any(deaf_alarms(lan, me) for me in THREE)
