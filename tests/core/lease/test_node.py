"""The lease protocol, rule by rule; whole clusters in all weathers are in tests/sim."""

from __future__ import annotations

import pytest

from clusterip.core.buckets import buckets_of
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.echoes import Echoes
from clusterip.core.messages.message import (
    Heard,
    Message,
    digest_of_config,
    digest_of_name,
    digest_of_voters,
)
from clusterip.core.serving.actions import (
    Alarm,
    AlarmKind,
    BucketState,
    Note,
    Reception,
    RestartReady,
    RestartRefused,
    SetBucket,
    SetDeadline,
)
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, cluster, node, recorded_incarnations, replay, taken

L = DEFAULT.lease


def test_a_start_clears_the_kernel_first() -> None:
    events = taken(node())
    assert events == [
        *(SetBucket(bucket, BucketState.NONE) for bucket in (1, 2, 3, 4)),
        SetDeadline(0),
    ]


def test_nothing_is_said_before_it_was_done() -> None:
    n = node()
    assert n.message_to_send(now=SECOND) is None
    taken(n)
    assert n.message_to_send(now=SECOND) is not None


def test_three_share_and_the_deadline_follows() -> None:
    lan = cluster()
    assert sorted(mask.bit_count() for mask in lan.held().values()) == [1, 1, 2]
    for n in lan.nodes.values():
        assert lan.now + L - 2 * DEFAULT.interval < n.kernel.deadline <= lan.now + L


def test_the_deadline_is_set_before_a_bucket_is_opened() -> None:
    lan = cluster()
    for events in lan.events.values():
        kinds = [event for event in events if isinstance(event, SetBucket | SetDeadline)]
        opened = next(
            i for i, e in enumerate(kinds)
            if isinstance(e, SetBucket) and e.state is not BucketState.NONE
        )  # fmt: skip
        before = kinds[opened - 1]
        assert isinstance(before, SetDeadline)
        assert before.at > 0


def test_one_cut_off_clears_by_its_deadline_and_the_others_go_on() -> None:
    lan = cluster()
    lan.deaf.add(2)
    deadline = lan.nodes[2].kernel.deadline
    lan.run(deadline + 10 * MS)
    assert lan.held()[2] == 0
    lan.run(lan.now + SECOND)
    assert lan.held()[1] | lan.held()[3] == 0b1111


def test_a_drain_moves_all_and_tells_the_kernel_before_the_others() -> None:
    lan = cluster()
    had = lan.held()[2]
    lan.events[2].clear()
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held()[2] == 0
    assert lan.nodes[2].kernel.draining == had
    # Who took them leaves the connections of node 2 alone, until it no longer lists them.
    assert (lan.nodes[1].kernel.taking | lan.nodes[3].kernel.taking) == had
    for bucket in buckets_of(had):
        assert SetBucket(bucket, BucketState.DRAINING) in lan.events[2]
        lan.nodes[2].drained([bucket], now=lan.now)
    lan.run(lan.now + SECOND)
    assert not lan.nodes[1].kernel.taking | lan.nodes[3].kernel.taking
    assert lan.nodes[1].kernel.owned | lan.nodes[3].kernel.owned == 0b1111
    lan.nodes[2].undrain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held()[2] != 0


def test_all_unhealthy_keep_serving_and_one_unhealthy_gives_up() -> None:
    lan = cluster()
    lan.nodes[1].set_health(False, now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held()[1] == 0
    for n in lan.nodes.values():
        n.set_health(False, now=lan.now)
    lan.run(lan.now + SECOND)
    assert sum(lan.held().values()) == 0b1111


def test_weights_count() -> None:
    lan = cluster()
    lan.nodes[3].set_weight(2, now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held()[3].bit_count() == 2
    lan.nodes[3].set_weight(0, now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.held()[3] == 0


def test_a_link_that_is_down_releases_at_once() -> None:
    lan = cluster()
    lan.nodes[1].set_link(False, now=lan.now)
    assert lan.held()[1] == 0
    lan.run(lan.now + 200 * MS)
    assert lan.held()[2] | lan.held()[3] == 0b1111
    lan.nodes[1].set_link(True, now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    assert lan.held()[1] != 0


def test_who_leaves_is_replaced_at_once() -> None:
    lan = cluster()
    lan.nodes[1].leave(now=lan.now)
    lan.run(lan.now + 100 * MS)
    assert lan.held()[2] | lan.held()[3] == 0b1111


def test_a_planned_restart_loses_nothing() -> None:
    lan = cluster()
    old = lan.nodes[2]
    held = old.kernel.open
    old.prepare_restart(now=lan.now)
    lan.run(lan.now + 300 * MS)
    ready = [event for event in lan.events[2] if isinstance(event, RestartReady)]
    assert len(ready) == 1
    assert ready[0].until > lan.now + 4 * SECOND
    assert old.kernel.deadline >= ready[0].until
    assert any(isinstance(event, Note) for event in lan.events[1])
    raw = old.hand_over()
    assert old.message_to_send(now=lan.now + SECOND) is None
    del lan.nodes[2]
    lan.run(lan.now + 3 * SECOND)
    assert lan.held()[1] | lan.held()[3] | held == 0b1111
    assert not (lan.held()[1] | lan.held()[3]) & held
    new = Node(old.state.config, handover=HandOver.decode(raw), now=lan.now)
    assert (new.incarnation, new.sequence) == (old.incarnation, old.sequence)
    assert new.state.votes.voter.taken == old.state.votes.voter.taken
    assert new.kernel.open == held
    lan.nodes[2] = new
    lan.events[2].clear()
    lan.run(lan.now + 6 * SECOND)
    assert lan.held()[2] == held
    assert not [event for event in lan.events[2] if isinstance(event, SetBucket)]


def test_a_restart_nobody_agrees_to_is_called_off() -> None:
    lan = cluster()
    lan.deaf.add(2)
    lan.nodes[2].prepare_restart(now=lan.now)
    lan.run(lan.now + SECOND)
    assert any(isinstance(event, RestartRefused) for event in lan.events[2])
    assert not any(isinstance(event, RestartReady) for event in lan.events[2])
    assert lan.nodes[2].state.grace.asked == 0


def test_a_handover_waits_until_the_kernel_is_as_it_says() -> None:
    with pytest.raises(RuntimeError):
        node().hand_over()


def test_a_damaged_handover_is_refused() -> None:
    for raw in (b"", b"{}", b"[]", b'{"version": 3}', b'{"version": 9}', b"\xff", b"[" * 9999):
        with pytest.raises(SystemFaultError):
            HandOver.decode(raw)


def test_another_configuration_is_alarmed_and_gets_nothing() -> None:
    lan = cluster()
    lan.nodes[2] = Node(lan.nodes[2].state.config._replace(config=6), incarnation=77, now=lan.now)
    lan.run(lan.now + 5 * SECOND)
    assert lan.held()[2] == 0
    assert lan.held()[1] | lan.held()[3] == 0b1111
    alarms = [event for event in lan.events[1] if isinstance(event, Alarm)]
    assert Alarm(AlarmKind.MISMATCH, 2, 6) in alarms


def test_a_starved_node_says_so() -> None:
    lan = cluster()
    lan.nodes[1].handle_timer(now=lan.now + SECOND)
    assert any(
        isinstance(event, Alarm) and event.kind is AlarmKind.STARVED
        for event in taken(lan.nodes[1])
    )


def test_two_owners_seen_in_messages_are_alarmed() -> None:
    lan = cluster()
    one, other = lan.nodes[1], lan.nodes[2]
    lie = next(m for m in reversed(lan.sent) if m.sender == 2)
    lie = lie._replace(
        sequence=other.sequence + 1,
        heard=Echoes.said((Heard(1, one.incarnation, one.sequence),)),
        want=lie.want | one.kernel.open,
        held=lie.held | one.kernel.open,
        grants=(),
    )
    mine = one.kernel.open
    one.receive(lie, now=lan.now)
    assert Alarm(AlarmKind.TWO_OWNERS, 2, mine) in taken(one)


def test_replays_change_nothing() -> None:
    lan = cluster()
    one = lan.nodes[1]
    before = one.hand_over()
    one.state.voice.gone = False
    for message in lan.sent:
        verdict = one.receive(message, now=lan.now)
        assert verdict in {Reception.OWN, Reception.REPLAYED}
    assert one.hand_over() == before


def test_an_old_incarnation_never_comes_back() -> None:
    lan = cluster()
    old = [message for message in lan.sent if message.sender == 2]
    lan.nodes[2] = Node(lan.nodes[2].state.config, incarnation=99, now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    one = lan.nodes[1]
    assert one.state.hearing.peers.all[2].incarnation == 99
    for message in old:
        assert one.receive(message, now=lan.now) is Reception.REPLAYED
    assert one.state.hearing.peers.all[2].incarnation == 99


@pytest.mark.parametrize("anew", [False, True])
def test_replays_of_former_incarnations_cost_an_answer_each_interval_at_most(anew: bool) -> None:
    lan = cluster()
    old = recorded_incarnations(lan)
    if anew:  # it knows none of these incarnations
        lan.nodes[1] = Node(lan.nodes[1].state.config, incarnation=77, now=lan.now)
        lan.run(lan.now + 3 * SECOND)
    held = lan.held()
    most = 2 * SECOND // DEFAULT.interval
    assert all(replay(lan, old, me) <= most for me in (1, 3))
    assert lan.held() == held


def test_a_new_incarnation_proves_itself_among_replays() -> None:
    lan = cluster()
    old = recorded_incarnations(lan)
    lan.nodes[2] = Node(lan.nodes[2].state.config, incarnation=100, now=lan.now)
    # It is new to one that is new itself, and needs its echo.
    lan.nodes[1] = Node(lan.nodes[1].state.config, incarnation=77, now=lan.now)
    replay(lan, old, 1)
    assert lan.nodes[1].state.hearing.peers.all[2].incarnation == 100
    assert lan.nodes[2].state.hearing.peers.all[1].incarnation == 77


def test_more_incarnations_than_are_remembered_cost_no_more() -> None:
    lan = cluster()
    model = next(m for m in lan.sent if m.sender == 2)
    old = [model._replace(incarnation=incarnation) for incarnation in range(1000, 2100)]
    assert replay(lan, old, 1) <= 2 * SECOND // DEFAULT.interval
    assert len(lan.nodes[1].state.hearing.peers.all[2].unproven) < len(old)


def test_strangers_concern_nobody() -> None:
    stranger = Message(9, 1, 1, 5, 1)
    assert node().receive(stranger, now=1) is Reception.STRANGER


def test_one_host_is_a_majority() -> None:
    lan = Lan(node(1, voters=frozenset({1})))
    lan.run(3 * SECOND)
    assert lan.held()[1] == 0b1111


def test_a_voter_is_added_host_by_host() -> None:
    lan = cluster()
    four = THREE | {4}
    lan.nodes[4] = node(4, voters=four, now=lan.now)
    lan.events[4] = []
    for me in THREE:
        lan.run(lan.now + 300 * MS)
        lan.nodes[me].set_voters(four, now=lan.now)
        assert sum(lan.held().values()) == 0b1111
    lan.run(lan.now + 3 * SECOND)
    assert all(mask.bit_count() == 1 for mask in lan.held().values())
    assert not any(n.state.votes.voters.before for n in lan.nodes.values())
    with pytest.raises(RefusedError):
        lan.nodes[1].set_voters(THREE - {3}, now=lan.now)


def test_two_that_do_not_hear_each_other_do_not_split_the_votes_for_good() -> None:
    four = THREE | {4}
    lan = Lan(*(node(me, voters=four, weight=int(me < 3)) for me in four))
    lan.cut = {(1, 2), (2, 1)}
    lan.run(700 * MS)
    lan.cut |= {(1, 3), (2, 4)}  # just when they ask
    lan.run(900 * MS)
    assert [lan.nodes[me].state.votes.voter.granted((1, 10)) for me in (1, 4)] == [0b1111, 0b1111]
    assert [lan.nodes[me].state.votes.voter.granted((2, 20)) for me in (2, 3)] == [0b1111, 0b1111]
    lan.cut = {(1, 2), (2, 1)}
    lan.run(lan.now + 5 * SECOND)
    assert lan.held()[1] | lan.held()[2] == 0b1111


def test_digests_tell_things_apart() -> None:
    assert len({digest_of_name("a"), digest_of_config("a"), digest_of_voters([97])}) == 3
    assert digest_of_voters([1, 2]) == digest_of_voters([2, 1]) != digest_of_voters([1])


@pytest.mark.parametrize("away", [50, 200, 400])
def test_what_those_share_who_began_anew_stays_where_it_is(away: int) -> None:
    """One hears nobody; of the other two one starts, and the other lost all it had by that."""
    lan = cluster()
    lan.cut = {(2, 1), (3, 1)}
    lan.run(lan.now + 4 * SECOND)
    gone = lan.nodes.pop(2)
    lan.run(lan.now + away * MS)
    lan.nodes[2] = Node(gone.state.config, incarnation=99, now=lan.now)
    lan.run(lan.now + 500 * MS)
    assert not any(lan.held().values())
    while not (lan.nodes[2].kernel.open and lan.nodes[3].kernel.open):
        lan.run(lan.now + 5 * MS)
    held = lan.held()
    assert [mask.bit_count() for mask in held.values()] == [0, 2, 2]
    ends = lan.now + 4 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held() == held
