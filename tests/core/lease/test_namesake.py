"""Another daemon that runs as this node is heard: of the two one serves, or none."""

from __future__ import annotations

import random

import pytest

from clusterip.core.lease import contact, pair
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Reception, SetBack
from clusterip.core.units import SECOND
from tests.core.lease.doubled import SECOND_OF_2, Doubled, incarnations, schedules
from tests.core.lease.lan import MS, THREE, Lan, cluster, recorded_incarnations

PAIR = frozenset({1, 2})
LONGEST = DEFAULT.promise(DEFAULT.restart)


@pytest.mark.parametrize("doubles", [{12: 2, 13: 3}, {11: 1, 12: 2, 13: 3}, {12: 2, 22: 2}])
def test_a_cluster_that_was_copied(doubles: dict[int, int]) -> None:
    """The copies would be a majority of their own."""
    lan = Doubled(reached=True, doubles=doubles)
    lan.run(lan.now + 12 * SECOND)
    assert {me: lan.nodes[me].kernel.open for me in THREE} == lan.held_before
    assert not any(lan.nodes[key].kernel.open for key in doubles)


def test_two_hosts_beside_a_double_of_which_the_other_stops() -> None:
    lan = Doubled(reached=True, voters=PAIR, alive=True)
    lan.run(lan.now + 6 * SECOND)
    lan.nodes[1].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    lan.nodes[1].leave(now=lan.now)
    lan.run(lan.now + 100 * MS)
    del lan.nodes[1]
    lan.run(lan.now + 12 * SECOND)
    assert lan.nodes[2].kernel.open == 0b1111
    lan.begin(1)
    lan.run(lan.now + 12 * SECOND)
    assert lan.served() == 0b1111
    assert not lan.nodes[SECOND_OF_2].kernel.open


def test_two_hosts_and_a_double_that_hears_nothing_but_that_it_is_one() -> None:
    lan = Doubled(reached=False, voters=PAIR, alive=True)
    for _ in range(12):
        lan.run(lan.now + SECOND)
        lan.nodes[SECOND_OF_2].bar(now=lan.now)
    assert {me: lan.nodes[me].kernel.open for me in PAIR} == lan.held_before
    lan.run(lan.now + LONGEST - 100 * MS)
    assert not lan.nodes[SECOND_OF_2].kernel.open


def test_a_double_does_not_go_on_alone_beside_one_that_does_not_hear_it() -> None:
    """Nobody else is there who could tell."""
    lan = Doubled(reached=True, voters=PAIR, alive=True, doubles={})
    del lan.nodes[1]
    lan.run(lan.now + 2 * SECOND)
    assert lan.nodes[2].kernel.open == 0b1111
    lan.doubles = {SECOND_OF_2: 2}
    lan.begin(SECOND_OF_2)
    real, double = lan.nodes[2], lan.nodes[SECOND_OF_2]
    for _ in range(1200):
        lan.now += 10 * MS
        for one in (real, double):
            one.handle_timer(now=lan.now)
            while one.next_action():
                pass
            message = one.message_to_send(now=lan.now)
            if message and one is real:
                double.receive(message, now=lan.now)
        assert not double.kernel.open
    assert real.kernel.open == 0b1111


def test_where_both_serve_as_a_split_network_heals_one_at_most_goes_on() -> None:
    lan = Doubled(reached=True, doubles={})
    lan.doubles = {SECOND_OF_2: 2}
    real = lan.nodes[2]
    lan.begin(SECOND_OF_2)
    double = lan.nodes[SECOND_OF_2]
    halves = [{lan.nodes[1], real}, {lan.nodes[3], double}]
    lan.parts = lambda one, other: {one, other} not in halves
    lan.run(lan.now + 12 * SECOND)
    assert real.kernel.open | lan.nodes[1].kernel.open == 0b1111
    assert double.kernel.open | lan.nodes[3].kernel.open == 0b1111
    lan.parts = lambda _one, _other: False
    lan.run(lan.now + 4 * DEFAULT.interval)
    barred = [one for one in (real, double) if contact.barred(one.state, lan.now)]
    assert barred
    # Then what the others had by its word is over.
    lan.run(lan.now + DEFAULT.lease)
    lan.parts = None
    lan.run(lan.now + 12 * SECOND)
    assert lan.served() == 0b1111
    assert not any(one.kernel.open for one in barred)


def test_the_one_that_others_took_for_it_goes_on() -> None:
    lan = Doubled(reached=True, doubles={})
    lan.doubles = {SECOND_OF_2: 2}
    real = lan.nodes[2]
    lan.parts = lambda one, other: real in (one, other)
    lan.run(lan.now + 2 * SECOND)
    lan.begin(SECOND_OF_2)
    double = lan.nodes[SECOND_OF_2]
    lan.run(lan.now + 12 * SECOND)
    held = double.kernel.open
    assert held
    lan.parts = None
    lan.run(lan.now + 12 * SECOND)
    assert double.kernel.open == held
    assert not real.kernel.open


def test_it_has_the_place_when_the_other_is_gone_and_all_that_it_promised() -> None:
    lan = Doubled(reached=True)
    lan.run(lan.now + 6 * SECOND)
    del lan.nodes[2]
    gone = lan.now
    double = lan.nodes[SECOND_OF_2]
    while contact.barred(double.state, lan.now):
        assert double.state.votes.voter.muted(lan.now)
        lan.run(lan.now + 5 * MS)
    assert LONGEST - 2 * DEFAULT.interval <= lan.now - gone <= LONGEST
    lan.run(lan.now + 2 * SECOND)
    assert double.kernel.open


def test_one_that_is_barred_says_so_by_claiming_nothing() -> None:
    lan = Doubled(reached=True)
    lan.run(lan.now + SECOND)
    double = lan.nodes[SECOND_OF_2]
    said = [m for m in lan.sent if m.incarnation == double.incarnation]
    assert not any(m.want or m.draining or m.grants for m in said)
    lan.sent.clear()
    lan.run(lan.now + SECOND)
    said = [m for m in lan.sent if m.incarnation == double.incarnation]
    assert said
    assert not any(one.acknowledged for m in said for one in m.heard)
    # And each that it hears the other.
    real = lan.nodes[2].incarnation
    assert all(m.heard_of(2, real) for m in said)
    assert all(m.heard_of(2, double.incarnation) for m in lan.sent if m.incarnation == real)


def test_one_that_is_barred_gives_no_more_word() -> None:
    """Who had voted, and counted as a voter, until it heard that another does."""
    lan = cluster()
    node = lan.nodes[2]
    before = {
        grantee: one.until
        for grantee, one in node.state.votes.voter.promises.items()
        if one.buckets
    }
    assert before
    node.bar(now=lan.now)
    assert not node.kernel.open
    lan.sent.clear()
    lan.run(lan.now + SECOND)
    said = [message for message in lan.sent if message.sender == 2]
    assert not any(message.grants for message in said)
    assert not any(one.acknowledged for message in said[1:] for one in message.heard)
    assert not any(one.buckets for one in node.state.votes.voter.promises.values())
    lan.run(lan.now + 12 * SECOND)
    assert node.kernel.open


def test_two_that_start_as_the_other_of_two_is_away() -> None:
    """Neither can know which is the right one: nobody serves before one of them is gone."""
    lan = Doubled(reached=True, voters=PAIR, alive=True)
    for key in (1, 2, SECOND_OF_2):
        del lan.nodes[key]
    config = Doubled(reached=True, voters=PAIR, alive=True, doubles={}).nodes[2].state.config
    for key in (2, SECOND_OF_2):
        lan.nodes[key] = Node(config, incarnation=next(incarnations), now=lan.now)
    lan.run(lan.now + 12 * SECOND)
    assert not lan.served()
    del lan.nodes[SECOND_OF_2]
    lan.run(lan.now + LONGEST + SECOND)
    assert lan.served() == 0b1111
    # Nor is it spoken of any longer.
    assert not lan.said(2).heard_of(2, incarnation_of(lan, 2, other_than=lan.nodes[2].incarnation))


def incarnation_of(lan: Lan, me: int, *, other_than: int) -> int:
    """Return the incarnation in which a node spoke last, but that one."""
    return next(
        m.incarnation for m in reversed(lan.sent) if m.sender == me and m.incarnation != other_than
    )


def test_one_that_comes_in_the_silence_of_a_planned_restart() -> None:
    lan = Doubled(reached=True, doubles={})
    lan.doubles = {SECOND_OF_2: 2}
    real = lan.nodes[2]
    real.prepare_restart(now=lan.now)
    lan.run(lan.now + 300 * MS)
    document = HandOver.decode(real.hand_over())
    # Its kernel goes on.
    silent, answered = real, real.kernel.open
    lan.nodes[2] = Silent(silent)
    lan.nodes[SECOND_OF_2] = Node(real.state.config, incarnation=next(incarnations), now=lan.now)
    lan.run(lan.now + 2500 * MS)
    lan.nodes[2] = Node(real.state.config, handover=document, now=lan.now)
    lan.run(lan.now + 6 * SECOND)
    assert lan.nodes[2].kernel.open == answered
    assert not lan.nodes[SECOND_OF_2].kernel.open


class Silent(Node):
    """A node that handed over: only its kernel is there."""

    def __init__(self, gone: Node) -> None:
        self.__dict__ = gone.__dict__

    def receive(self, message: Message, *, now: int) -> Reception:
        del message, now
        return Reception.REPLAYED

    def next_timer(self) -> int:
        return 1 << 62

    def message_to_send(self, *, now: int) -> Message | None:
        del now
        return None


def test_what_others_said_of_another_incarnation_holds_for_as_long_as_a_grace() -> None:
    """Who said so may be bound by its own restart to what that one has."""
    lan = cluster()
    first, third = lan.nodes[1], lan.said(3)
    other = Heard(2, 99, 7)
    heard = tuple(other if one.node == 2 else one for one in third.heard)
    first.receive(
        third._replace(sequence=third.sequence + 1, heard=Echoes.said(heard)), now=lan.now
    )
    said = lan.now
    lan.deaf = {3}
    lan.run(said + LONGEST - 100 * MS)
    assert contact.doubled(first.state, 2, lan.now)
    lan.run(said + LONGEST)
    assert not contact.doubled(first.state, 2, lan.now)


def test_what_the_other_hears_is_no_silence() -> None:
    """One that is barred says that it hears the second host, which we do not hear."""
    lan = Doubled(reached=True, voters=PAIR, alive=True, doubles={})
    del lan.nodes[1]
    lan.run(lan.now + 2 * SECOND)
    node, alone = lan.nodes[2], [(frozenset({2}), 1)]
    assert pair.quorums(node.state, lan.now) == alone
    heard_of_first = node.state.hearing.peers.all[1].sequence
    for sequence, news in ((1, 0), (2, 0), (3, 1), (4, 2)):
        lan.run(lan.now + DEFAULT.interval)
        other = lan.said(2)._replace(
            incarnation=99,
            sequence=sequence,
            want=0,
            held=0,
            grants=(),
            heard=Echoes.said(
                (Heard(1, 10, heard_of_first + news), Heard(2, node.incarnation, node.sequence))
            ),
        )
        node.receive(other, now=lan.now)
        node.state.plan.lone = False
        assert pair.quorums(node.state, lan.now) == (
            [(PAIR, 2)] if news or sequence == 1 else alone
        )
    lan.run(lan.now + DEFAULT.promise(DEFAULT.lease))
    assert pair.quorums(node.state, lan.now) == alone


def test_recordings_of_former_incarnations_bar_nobody() -> None:
    lan = cluster()
    old = recorded_incarnations(lan)
    node = lan.nodes[2]
    held = node.kernel.open
    for message in old:
        assert node.receive(message, now=lan.now) is Reception.OWN
        lan.run(lan.now + 5 * MS)
        assert not contact.barred(node.state, lan.now)
        assert node.kernel.open == held


def test_recordings_of_former_incarnations_do_not_stop_who_serves_alone() -> None:
    lan = Lan(*(Doubled(reached=True, voters=PAIR, alive=True, doubles={}).nodes.values()))
    lan.now = 4 * SECOND
    old = [said(lan, 2, incarnation=97) for _ in range(40)]
    lan.nodes[2] = Node(lan.nodes[2].state.config, incarnation=next(incarnations), now=lan.now)
    lan.run(lan.now + 6 * SECOND)
    del lan.nodes[1]
    lan.run(lan.now + 2 * SECOND)
    assert lan.nodes[2].kernel.open == 0b1111
    for message in old:
        lan.nodes[2].receive(message, now=lan.now)
        lan.run(lan.now + 20 * MS)
        assert lan.nodes[2].kernel.open == 0b1111


def said(lan: Lan, me: int, *, incarnation: int) -> Message:
    """Return a message of another incarnation of a node, that serves all."""
    lan.run(lan.now + DEFAULT.interval)
    message = lan.said(me)
    return message._replace(incarnation=incarnation, want=0b1111, held=0b1111)


def test_what_comes_back_is_no_news() -> None:
    lan = cluster()
    before = lan.nodes[1].kernel.open
    lan.nodes[1].receive(lan.said(1), now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.nodes[1].kernel.open == before
    assert not contact.barred(lan.nodes[1].state, lan.now)


def test_a_machine_that_was_copied_while_it_ran() -> None:
    """The same memory twice: who hears that it said more than it knows of begins anew."""
    lan = cluster()
    node = lan.nodes[2]
    ahead = lan.said(2)._replace(sequence=node.sequence + 5)
    node.receive(ahead, now=lan.now)
    events = []
    while event := node.next_action():
        events.append(event)
    assert SetBack(2, ahead.sequence, node.sequence) in events
    assert not node.kernel.open


@pytest.mark.parametrize("seed", schedules(40))
def test_anything(seed: int) -> None:
    """Who is copied, crashes, restarts, drains; where all hear all."""
    chance = random.Random(seed)
    doubles = {me + 10: me for me in chance.sample(sorted(THREE), chance.choice((1, 2, 3)))}
    lan = Doubled(reached=True, doubles=doubles)
    for _ in range(10):
        key = chance.choice([*THREE, *doubles])
        act = chance.choice(("restart", "crash", "drain", "undrain"))
        if key not in lan.nodes:
            lan.begin(key)
        elif act == "restart":
            lan.restart(key)
        elif act == "crash":
            del lan.nodes[key]
            lan.run(lan.now + chance.choice((5, 50, 300, 1500)) * MS)
            if chance.random() < 0.7:
                lan.begin(key)
        elif act == "drain":
            lan.nodes[key].drain(now=lan.now)
        else:
            lan.nodes[key].undrain(now=lan.now)
        lan.run(lan.now + chance.choice((5, 100, 700, 3000, 7000)) * MS)
