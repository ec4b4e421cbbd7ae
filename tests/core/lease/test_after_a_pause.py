"""A node whose clock stood still: what it tells its kernel, and when it answers again."""

from __future__ import annotations

import pytest

from clusterip.core.lease.node import Node
from clusterip.core.messages.echoes import Echoes
from clusterip.core.serving.actions import Alarm, AlarmKind, SetDeadline
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, cluster, taken


def paused(lan: Lan, length: int) -> Node:
    """Let node 3 hear of node 1 that its clock went on by so much more."""
    node = lan.nodes[3]
    newest = lan.said(1)
    later = newest._replace(sequence=newest.sequence + 1, clock=lan.now + length)
    node.receive(later, now=lan.now)
    return node


def deadlines(lan: Lan) -> list[int]:
    return [event.at for event in lan.events[3] if isinstance(event, SetDeadline)]


@pytest.mark.parametrize("length", [30 * MS, 200 * MS, 300 * MS])
def test_it_answers_again_when_a_majority_heard_it_since(length: int) -> None:
    lan = cluster()
    held = lan.held()
    node = paused(lan, length)
    lan.events[3] = taken(node)
    assert deadlines(lan)[0] == 0
    assert max(deadlines(lan)) == 0
    # Nobody hears it: whatever else comes opens nothing.
    lan.cut = {(3, 1), (3, 2)}
    lan.run(lan.now + 40 * MS)
    assert max(deadlines(lan)) == 0
    lan.cut = set()
    lan.run(lan.now + 300 * MS)
    assert deadlines(lan)[-1] > lan.now
    assert lan.held() == held
    alarms = [event.kind for event in lan.events[3] if isinstance(event, Alarm)]
    assert (AlarmKind.STOOD_STILL in alarms) == (length > 175 * MS)


def test_what_messages_are_late_by_is_no_pause() -> None:
    lan = cluster()
    lan.events[3] = taken(paused(lan, 20 * MS))
    lan.run(lan.now + SECOND)
    assert 0 not in deadlines(lan)


def test_a_pause_that_outlasts_the_lease_loses_the_buckets() -> None:
    lan = cluster()
    node = paused(lan, 800 * MS)
    assert node.kernel.open == 0
    lan.run(lan.now + 2 * SECOND)
    assert sum(lan.held().values()) == 0b1111


def test_recordings_of_a_node_that_is_down_are_no_clock() -> None:
    """Its oldest word again and again, and then a later one: its clock seems to leap."""
    lan = cluster()
    said = [message for message in lan.sent if message.sender == 3]
    lan.deaf = {3}
    lan.run(lan.now + 3 * SECOND)
    node = lan.nodes[1]
    lan.events[1].clear()
    lead = node.state.hearing.standstill.leads[3]
    for message in [*[said[0]] * 17, said[-1]]:
        node.heed([message], now=lan.now)
        node.receive(message, now=lan.now)
        assert not node.kernel.is_shut
        assert node.state.hearing.standstill.leads[3] == lead
        lan.run(lan.now + 100 * MS)
    assert not [event for event in lan.events[1] if event == SetDeadline(0)]


@pytest.mark.parametrize("uptime", [None, 10 * SECOND])
def test_others_that_were_all_started_meanwhile_are_witnesses(uptime: int | None) -> None:
    """Their daemons, or their machines: `uptime`."""
    lan = cluster()
    node = lan.nodes[3]
    newest = lan.said(1)
    anew = newest._replace(
        incarnation=77, sequence=1, clock=lan.now + 30 * SECOND if uptime is None else uptime
    )
    node.receive(anew, now=lan.now)
    assert not taken(node), "nobody knows whether it lives"
    lan.cut = {(1, 3), (2, 3)}
    lan.run(lan.now + 200 * MS)
    heard = tuple(
        one._replace(incarnation=node.incarnation, sequence=node.sequence, known=True)
        if one.node == 3
        else one
        for one in newest.heard
    )
    proven = anew._replace(sequence=2, heard=Echoes.said(heard), clock=anew.clock + 200 * MS)
    node.receive(proven, now=lan.now)
    assert node.kernel.is_shut
    assert node.kernel.open == 0
