"""Two hosts: what the survivor of two does, alone or with a witness."""

from __future__ import annotations

import pytest

from clusterip.core.lease import pair
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT, RELAXED, Timing
from clusterip.core.messages import echoes
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Alarm, AlarmKind, BucketState, RestartReady, SetBucket
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, begins_anew, borne, node, restart_in, taken, two

L = DEFAULT.lease
NONE = BucketState.NONE


def test_the_survivor_of_two_goes_on_alone_and_makes_room_again() -> None:
    lan = two(4 * SECOND)
    assert sum(lan.held().values()) == 0b1111
    gone = lan.nodes.pop(2)
    died = lan.now
    while lan.held()[1] != 0b1111:
        lan.run(lan.now + 5 * MS)
    assert lan.now - died < SECOND
    lan.nodes[2] = Node(gone.state.config, incarnation=99, now=lan.now)
    lan.run(lan.now + 4 * SECOND)
    assert sorted(mask.bit_count() for mask in lan.held().values()) == [2, 2]


@pytest.mark.parametrize("mute", [0, 5 * SECOND])
def test_the_survivor_of_two_keeps_what_it_has_until_the_other_can_vote(mute: int) -> None:
    lan = two(4 * SECOND)
    begins_anew(lan, 2, 2 * SECOND, mute=mute)
    while lan.nodes[1].state.plan.lone:
        held = lan.held()
        assert held == {1: 0b1111, 2: 0}
        lan.run(lan.now + 5 * MS)
    # From now on nothing goes on without the other's vote.
    assert len(pair.quorums(lan.nodes[1].state, lan.now)[0][0]) == 2
    lan.run(lan.now + 4 * SECOND)
    lost = [
        event
        for event in lan.events[1]
        if isinstance(event, SetBucket) and event.state is BucketState.DRAINING
    ]
    assert len(lost) >= 2
    assert sorted(mask.bit_count() for mask in lan.held().values()) == [2, 2]


@pytest.mark.long
@pytest.mark.parametrize("timing", [DEFAULT, RELAXED], ids=["default", "relaxed"])
@pytest.mark.parametrize("away", [20 * MS, 350 * MS, 450 * MS, SECOND, 2500 * MS])
@pytest.mark.parametrize("mute", [0, 6 * SECOND])
@pytest.mark.parametrize("before", ["", "restarted", "drained"])
def test_the_other_stops_and_starts_at_once(
    timing: Timing, away: int, mute: int, before: str
) -> None:
    """It is heard again before it was silent for long, and has no vote to give for a while."""
    lan = two(20 * SECOND, timing=timing)
    if before == "restarted":
        restart_in(lan, 2, 100 * MS)
        lan.run(lan.now + SECOND)
    if before == "drained":
        lan.nodes[2].drain(now=lan.now)
        lan.run(lan.now + 2 * timing.lease)
        lan.nodes[2].drained(range(1, 5), now=lan.now)
        lan.run(lan.now + timing.lease)
        assert lan.held() == {1: 0b1111, 2: 0}
    lan.nodes[2].leave(now=lan.now)
    lan.run(lan.now + 20 * MS)
    gone = lan.nodes.pop(2)
    held = lan.nodes[1].kernel.open
    lan.run(lan.now + away)
    lan.nodes[2] = Node(gone.state.config, incarnation=99, mute=mute, now=lan.now)
    ends = lan.now + max(mute, timing.promise(timing.lease))
    lan.events[1].clear()
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        # Until the other has a vote, nothing is given to it.
        assert lan.nodes[1].kernel.open & held == held
    lan.run(lan.now + 4 * timing.settle)
    assert sorted(mask.bit_count() for mask in lan.held().values()) == [2, 2]


@pytest.mark.parametrize("why", ["deaf", "other configuration"])
def test_one_that_starts_and_cannot_be_known_to_stay_quiet_is_no_reason_to_go_on(why: str) -> None:
    lan = two(4 * SECOND)
    first = lan.nodes[1]
    said = lan.said(2)._replace(sequence=lan.nodes[2].sequence + 1, want=0, held=0, grants=())
    del lan.nodes[2]
    said = said._replace(heard=echoes.NONE) if why == "deaf" else said._replace(config=6)
    first.receive(said, now=lan.now)
    assert not first.state.plan.lone


def test_the_survivor_of_two_stops_when_the_other_serves_too() -> None:
    lan = two(4 * SECOND)
    lan.cut = {(1, 2), (2, 1)}
    lan.run(lan.now + 2 * SECOND)
    assert lan.held() == {1: 0b1111, 2: 0b1111}
    for events in lan.events.values():
        events.clear()
    lan.cut = set()
    lan.run(lan.now + 200 * MS)
    told = [
        one
        for events in lan.events.values()
        for one in events
        if isinstance(one, Alarm) and one.kind is AlarmKind.BOTH_SERVED
    ]
    assert told
    assert all(SECOND < one.value < 2 * SECOND for one in told)
    assert not any(one.state.plan.lone for one in lan.nodes.values())
    assert lan.held()[1] & lan.held()[2] == 0


def alone_of_two() -> tuple[Lan, list[Message]]:
    """Return two of which the second died, and what that one said."""
    lan = two(8 * SECOND)
    lan.nodes.pop(2)
    return lan, [message for message in lan.sent if message.sender == 2]


def until_alone(lan: Lan, old: list[Message]) -> int:
    """Send the first node `old`, one each 100 ms, again and again; return when it serves all."""
    began = lan.now
    while lan.held()[1] != 0b1111:
        lan.nodes[1].receive(old[(lan.now - began) // (100 * MS) % len(old)], now=lan.now)
        lan.run(lan.now + 100 * MS)
        assert lan.now - began < 60 * SECOND
    return lan.now - began


def test_replays_of_the_other_of_two_whom_it_knew_do_not_hold_up_the_survivor() -> None:
    lan, old = alone_of_two()
    assert until_alone(lan, old) < SECOND


def test_replays_to_one_who_never_knew_the_other_of_two_hold_it_up_once() -> None:
    """It cannot tell them from one that does not hear it, and serves."""
    lan, old = alone_of_two()
    lan.nodes[1] = Node(lan.nodes[1].state.config, incarnation=77, now=lan.now)
    lasts = len(old) * 100 * MS
    assert lasts < until_alone(lan, old) < lasts + SECOND


def test_without_alive_the_survivor_of_two_stops() -> None:
    lan = two(4 * SECOND, alive=False)
    lan.nodes.pop(2)
    lan.run(lan.now + 6 * SECOND)
    assert lan.held()[1] == 0


def test_two_hosts_and_a_witness() -> None:
    lan = Lan(node(1), node(2), node(3, weight=0))
    lan.run(4 * SECOND)
    assert lan.held()[3] == 0
    lan.nodes.pop(2)
    lan.run(lan.now + SECOND)
    assert lan.held()[1] == 0b1111


@pytest.mark.parametrize("of", [1, 2])
def test_recordings_that_are_sent_slowly_keep_nobody_from_going_on(of: int) -> None:
    """They show that their clock is slow; sent as fast as they came, they are soon used up."""
    lan = two(4 * SECOND)
    old = [message for message in lan.sent if message.sender == of][-30:]
    for me in (of, 3 - of):
        gone = lan.nodes.pop(me)
        lan.run(lan.now + 20 * MS)
        lan.nodes[me] = Node(gone.state.config, incarnation=90 + me, now=lan.now)
        lan.run(lan.now + 4 * SECOND)
    del lan.nodes[2]
    died = lan.now
    for message in old:
        lan.nodes[1].receive(message, now=lan.now)
        lan.run(lan.now + 700 * MS)
        if lan.nodes[1].kernel.open == 0b1111:
            break
    assert lan.now - died < 3 * SECOND


@pytest.mark.parametrize("lag", [50 * MS, 300 * MS, SECOND, 3 * SECOND])
@pytest.mark.parametrize("silence", [100 * MS, 500 * MS, 2 * SECOND])
@pytest.mark.parametrize("lost", [False, True])
def test_who_serves_alone_restarts_beside_one_that_may_not_vote(
    lag: int, silence: int, lost: bool
) -> None:
    """And where the other misses the first that says so, it is told again before."""
    lan = two(4 * SECOND)
    begins_anew(lan, 1, 4 * SECOND, mute=5 * SECOND)
    lan.run(lan.now + lag)
    old = lan.nodes[2]
    old.prepare_restart(now=lan.now)
    if lost:
        lan.cut = {(2, 1)}
        lan.run(lan.now + 5 * MS)
        lan.cut = set()
    document = borne(lan, 2)
    ends = lan.now + silence
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert not lan.nodes[1].kernel.open
    lan.nodes[2] = Node(old.state.config, handover=document, now=lan.now)
    ends = lan.now + 2 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        if lan.nodes[1].state.votes.voter.muted(lan.now):
            assert lan.nodes[2].kernel.open == 0b1111
        assert not lan.nodes[1].kernel.open & lan.nodes[2].kernel.open


@pytest.mark.parametrize("lag", range(0, 600, 25))
def test_who_serves_alone_restarts_beside_one_that_just_began_and_a_message_is_lost(
    lag: int,
) -> None:
    """The other takes us in before we take in its new incarnation: it must know of the grace."""
    lan = two(4 * SECOND)
    begins_anew(lan, 2, 4 * SECOND)
    lan.run(lan.now + lag * MS)
    lan.nodes[1].prepare_restart(now=lan.now)
    lan.cut = {(1, 2)}
    while not lan.nodes[1].state.grace.announced:
        lan.run(lan.now + 5 * MS)
    lan.cut = set()
    borne(lan, 1)
    ends = lan.now + 4 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == {2: 0}


@pytest.mark.parametrize("silence", [300 * MS, 1200 * MS, 2500 * MS, 4 * SECOND, 6 * SECOND])
@pytest.mark.parametrize("lag", [300 * MS, 900 * MS, 2 * SECOND, 5300 * MS])
def test_who_serves_alone_restarts_while_the_other_does(silence: int, lag: int) -> None:
    lan = two(4 * SECOND)
    begins_anew(lan, 2, 4 * SECOND, mute=5 * SECOND)
    lan.run(lan.now + SECOND)
    assert lan.held() == {1: 0b1111, 2: 0}
    config = lan.nodes[2].state.config
    lan.nodes[2].prepare_restart(now=lan.now)
    of_two: HandOver | None = borne(lan, 2)
    comes = lan.now + silence
    lan.run(lan.now + lag)
    lan.nodes[1].prepare_restart(now=lan.now)
    one, of_one = lan.nodes[1], None
    ends = lan.now + 9 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        ready = any(isinstance(event, RestartReady) for event in lan.events[1])
        if 1 in lan.nodes and ready and not one.kernel.actions:
            del lan.nodes[1]
            of_one = one.hand_over()
        if of_two and lan.now >= comes:
            lan.nodes[2] = Node(config, handover=of_two, now=lan.now)
            of_two = None
        of_two_now = lan.nodes[2].kernel.open if 2 in lan.nodes else 0
        if one.kernel.deadline > lan.now:
            assert not one.kernel.open & of_two_now, "two answer"
    assert of_one or one.kernel.open


@pytest.mark.parametrize("away", [1500 * MS, 3 * SECOND, 20 * SECOND])
@pytest.mark.parametrize("before", [50 * MS, 500 * MS])
@pytest.mark.parametrize("how", ["link", "stopped", "still"])
def test_who_was_away_comes_back_while_the_survivor_restarts(
    how: str, away: int, before: int
) -> None:
    """It has not heard of the grace. Who stood still is told so by what waited for it."""
    lan = two(8 * SECOND)
    back, waits = lan.nodes[2], len(lan.sent)
    if how == "link":
        back.set_link(False, now=lan.now)
        lan.run(lan.now + 5 * MS)
    del lan.nodes[2]
    lan.run(lan.now + away - before)
    one = lan.nodes[1]
    assert one.kernel.open == 0b1111
    lan.now += 5 * MS
    one.prepare_restart(now=lan.now)
    borne(lan, 1)
    lan.run(lan.now + before)
    ends = lan.now + DEFAULT.restart - before - 100 * MS
    stood = away if how == "still" else 0
    waited = lan.sent[waits : waits + 12] if stood else []
    back.heed(waited, now=lan.now - stood)
    for message in waited:
        back.receive(message, now=lan.now - stood)
    if how == "link":
        back.set_link(True, now=lan.now)
    while lan.now < ends:
        lan.now += 5 * MS
        if back.next_timer() <= lan.now - stood:
            back.handle_timer(now=lan.now - stood)
        taken(back)
        back.message_to_send(now=lan.now - stood)
        if back.kernel.deadline > lan.now - stood:
            assert not back.kernel.open


@pytest.mark.parametrize("timing", [DEFAULT, RELAXED], ids=["default", "relaxed"])
@pytest.mark.parametrize("gap", range(10))
def test_the_daemon_of_the_other_is_killed_and_soon_back(timing: Timing, gap: int) -> None:
    """Its word is missed for a moment; it is known that it had no time to go on alone."""
    lan = two(20 * SECOND, timing=timing)
    mine = lan.nodes[1].kernel.open
    begins_anew(lan, 2, gap * timing.interval)
    ends, silent = lan.now + 4 * timing.lease, 0
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        silent = 0 if lan.nodes[1].kernel.open & mine == mine else silent + 5 * MS
        assert silent <= timing.interval * 7 // 2
        assert not lan.nodes[1].kernel.open & lan.nodes[2].kernel.open


@pytest.mark.parametrize("silence", [200 * MS, 900 * MS, 4500 * MS])
@pytest.mark.parametrize("lost", [0, 1, 3])
@pytest.mark.parametrize("why", ["unheard", "other configuration"])
def test_who_serves_alone_restarts_beside_one_that_cannot_serve(
    why: str, lost: int, silence: int
) -> None:
    """It hears the one that serves, which does not hear it, or cannot serve with it."""
    lan = two(4 * SECOND)
    cut: set[tuple[int, int]] = {(2, 1)} if why == "unheard" else set()
    lan.cut = set(cut)
    if not cut:
        gone = lan.nodes.pop(2)
        lan.run(lan.now + 300 * MS)
        lan.nodes[2] = Node(gone.state.config._replace(config=9), incarnation=99, now=lan.now)
    lan.run(lan.now + 8 * SECOND)
    assert lan.held() == {1: 0b1111, 2: 0}
    old = lan.nodes[1]
    old.prepare_restart(now=lan.now)
    lan.cut = cut | {(1, 2)}
    until = old.sequence + lost
    while old.sequence < until:
        lan.run(lan.now + 5 * MS)
    lan.cut = cut
    document = borne(lan, 1)
    ends = lan.now + silence
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == {2: 0}
    lan.nodes[1] = Node(old.state.config, handover=document, now=lan.now)
    ends = lan.now + 3 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == {1: 0b1111, 2: 0}
