"""One of two goes on alone: never beside the other, which may do so as well."""

from __future__ import annotations

import pytest

from clusterip.core.lease import pair
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT, RELAXED, Timing
from clusterip.core.messages import echoes
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, begins_anew, borne, node, two


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


@pytest.mark.parametrize("silence", [200 * MS, 1200 * MS, 4500 * MS])
def test_one_that_hears_nothing_and_serves_alone_restarts(silence: int) -> None:
    """It is not proven to the other, which hears its grace all the same."""
    lan = two(20 * SECOND)
    lan.cut = {(1, 2)}
    begins_anew(lan, 2, 3 * SECOND)
    run(lan, 8 * SECOND)
    assert lan.held() == {1: 0, 2: 0b1111}
    old = lan.nodes[2]
    old.prepare_restart(now=lan.now)
    document = borne(lan, 2)
    ends = lan.now + silence
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == {1: 0}
    lan.nodes[2] = Node(old.state.config, handover=document, now=lan.now)
    assert run(lan, 4 * SECOND) == 0
    assert lan.held() == {1: 0, 2: 0b1111}


@pytest.mark.parametrize("unread", [False, True])
def test_a_recorded_grace_holds_the_survivor_up_once(unread: bool) -> None:
    """However often it is sent, of one that was never proven here, or in an unknown version."""
    lan = two(20 * SECOND)
    recorded = lan.said(2)._replace(
        incarnation=77, grace=DEFAULT.restart, heard=echoes.NONE, grants=()
    )
    first = lan.nodes[1]
    del lan.nodes[2]
    died = lan.now
    while lan.held() != {1: 0b1111}:
        if unread:
            first.receive_unread(recorded, now=lan.now)
        else:
            first.receive(recorded, now=lan.now)
        lan.run(lan.now + 20 * MS)
        assert lan.now < died + DEFAULT.promise(DEFAULT.restart) + 200 * MS
    assert lan.now > died + DEFAULT.restart


def test_of_a_known_incarnation_too_what_is_not_read_counts_once() -> None:
    lan = two(20 * SECOND)
    said = lan.said(2)
    unread = said._replace(sequence=said.sequence + 1)
    del lan.nodes[2]
    died = lan.now
    while lan.held() != {1: 0b1111}:
        for one in (said, unread):
            lan.nodes[1].receive_unread(one, now=lan.now)
        lan.run(lan.now + 20 * MS)
        assert lan.now < died + SECOND
    lan.nodes[1].receive_unread(unread._replace(sequence=unread.sequence + 1), now=lan.now)
    assert not lan.nodes[1].state.plan.lone


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("again", [50 * MS, 300 * MS, 420 * MS])
def test_the_daemon_of_the_other_is_killed_again_and_again(again: int, deaf: bool) -> None:
    """One that just began serves nothing yet: nobody waits for it, hear what it may."""
    lan = two(20 * SECOND)
    mine, silent, longest = lan.nodes[1].kernel.open, 0, 0
    lan.cut = {(1, 2)} if deaf else set()
    for incarnation in range(90, 95):
        config = lan.nodes.pop(2).state.config
        ends = lan.now + again
        while lan.now < ends:
            lan.run(lan.now + 5 * MS)
            silent = 0 if lan.nodes[1].kernel.open & mine == mine else silent + 5 * MS
            longest = max(longest, silent)
        lan.nodes[2] = Node(config, incarnation=incarnation, now=lan.now)
    ends = lan.now + DEFAULT.restart - 3 * DEFAULT.interval
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        silent = 0 if lan.nodes[1].kernel.open & mine == mine else silent + 5 * MS
        longest = max(longest, silent)
        assert not deaf or not lan.nodes[2].kernel.open
    assert longest <= 160 * MS


def test_who_was_removed_from_the_two_does_not_go_on_alone() -> None:
    lan = two(20 * SECOND)
    stranger = node(3, voters=frozenset({1, 2}), alive=True, now=lan.now)
    stranger.handle_timer(now=lan.now + 3 * SECOND)
    assert not pair.serves_alone(stranger.state, lan.now + 20 * SECOND)
    assert not stranger.kernel.open


def test_one_that_was_not_proven_is_killed_soon_after_its_restart() -> None:
    """Its kernel may go on for all of the grace, whatever was said since."""
    lan = two(20 * SECOND)
    lan.cut = {(1, 2)}
    begins_anew(lan, 2, 3 * SECOND)
    run(lan, 8 * SECOND)
    old = lan.nodes[2]
    old.prepare_restart(now=lan.now)
    document = borne(lan, 2)
    lan.cut = set()
    lan.nodes[2] = Node(old.state.config, handover=document, now=lan.now)
    run(lan, 350 * MS)
    assert lan.nodes[1].state.hearing.peers.all[2].incarnation == 99
    theirs = lan.nodes.pop(2).kernel.open
    while lan.now < document.deadline:
        assert not lan.nodes[1].kernel.open & theirs
        lan.run(lan.now + 5 * MS)
    run(lan, SECOND)
    assert lan.held() == {1: 0b1111}


def test_who_goes_on_beside_another_and_stood_still_has_less_of_its_word() -> None:
    lan = two(20 * SECOND)
    begins_anew(lan, 2, SECOND, mute=5 * SECOND)
    lan.run(lan.now + 600 * MS)
    first, said = lan.nodes[1], lan.said(2)
    assert first.state.plan.lone
    until = first.state.hearing.peers.all[2].hears_until
    first.heed([said._replace(sequence=said.sequence + 1, clock=said.clock + SECOND)], now=lan.now)
    assert first.state.hearing.peers.all[2].hears_until < until - 800 * MS
