"""What a node concludes from what it knows: whether what it says is heard."""

from __future__ import annotations

from clusterip.core.lease import contact, others, speech
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.serving.actions import RestartReady
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, cluster, node

SOON = 3 * DEFAULT.interval + 10 * MS


def in_vain(lan: Lan) -> set[int]:
    """Return who speaks in vain."""
    return {me for me, one in lan.nodes.items() if speech.in_vain(one.state, lan.now)}


def test_who_echoes_what_is_older_than_a_lease_hears_us_no_more() -> None:
    lan = cluster()
    giver, other = lan.nodes[1], lan.nodes[2]
    # Of a message that asks for the grace of a restart more is remembered.
    giver.prepare_restart(now=lan.now)
    lan.run(lan.now + 50 * MS)
    giver.cancel_restart(now=lan.now)
    newest = lan.said(2)
    heard = giver.state.votes.holder.sent[newest.heard_of(1, giver.incarnation)]
    assert heard.lease > DEFAULT.lease
    assert contact.hears_us(giver.state, newest, heard.at + DEFAULT.lease - 1)
    assert not contact.hears_us(giver.state, newest, heard.at + DEFAULT.lease)
    assert contact.hears_us(other.state, lan.said(1), lan.now)


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


def test_a_restart_waits_for_who_was_not_heard_since_the_last_one() -> None:
    """It may have what drains here, and would take our silence for death."""
    lan = cluster()
    first = lan.nodes[1]
    first.drain(now=lan.now)
    lan.run(lan.now + 300 * MS)
    assert first.kernel.draining
    first.prepare_restart(now=lan.now)
    lan.run(lan.now + 100 * MS)
    again = Node(
        first.state.config, incarnation=1, handover=HandOver.decode(first.hand_over()), now=lan.now
    )
    lan.nodes[1] = again
    lan.cut = {(3, 1)}
    for heard in (False, True):
        again.prepare_restart(now=lan.now)
        lan.events[1].clear()
        lan.run(lan.now + 600 * MS)
        ready = [event for event in lan.events[1] if isinstance(event, RestartReady)]
        assert bool(ready) == heard
        lan.cut = set()
        again.cancel_restart(now=lan.now)
        lan.run(lan.now + 200 * MS)


def test_who_lost_all_is_a_newcomer_and_takes_from_others_only_after_a_while() -> None:
    lan = cluster()
    lan.deaf = {1}
    lan.run(lan.now + SECOND)
    first = lan.nodes[1]
    assert lan.held()[1] == 0
    lan.deaf = set()
    lost_at = first.state.attention.ready_at - DEFAULT.settle
    assert lan.now - SECOND < lost_at < lan.now
    lan.run(lost_at + DEFAULT.settle - 5 * MS)
    assert first.in_contact(lan.now)
    assert not contact.is_ready(first.state, lan.now)
    lan.run(lan.now + 10 * MS)
    assert contact.is_ready(first.state, lan.now)


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


def test_a_voter_that_was_just_removed_tells_nothing() -> None:
    lan = cluster()
    first = lan.nodes[1]
    assert 3 in first.state.hearing.heard
    first.state.hearing.peers.keep(frozenset({1, 2}), (), until=lan.now)
    assert others.told_until(first.state, 2, lan.now) <= lan.now
