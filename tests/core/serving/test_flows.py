"""Which flows stay when a bucket moves: watched, noted, kept for a while; and left alone."""

from __future__ import annotations

from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.messages.wire import FRAME, Codec
from clusterip.core.serving.actions import BucketState, ReadFlowSlots, SetBucket, SetFlowSlots
from clusterip.core.serving.flows import Flows, InheritedFlows, Told
from clusterip.core.serving.other import Other
from clusterip.core.units import MILLISECOND, SECOND
from tests.core.lease.lan import THREE, Lan, cluster, node

D = 100

TALKER = Other((1, 1, 1))
FLOW_SLOTS = 0b1011


def test_where_there_is_no_room_to_tell_the_flow_slots_all_of_them_stay() -> None:
    flows = Flows(watch=1, keep=1000)
    flows.restore({1: EVERY_FLOW_SLOT, 9: FLOW_SLOTS}, now=0)
    flows.begin(0b11110, now=0)
    flows.seen_enough(now=1)
    flows.note({2: FLOW_SLOTS, 3: 0, 4: FLOW_SLOTS, 5: FLOW_SLOTS})
    given = flows.give(0b11110, 2, now=2)
    assert given == {2: FLOW_SLOTS, 3: 0, 4: EVERY_FLOW_SLOT, 5: EVERY_FLOW_SLOT}
    assert dict(flows.said()) == {
        1: EVERY_FLOW_SLOT,
        9: FLOW_SLOTS,
        2: FLOW_SLOTS,
        4: EVERY_FLOW_SLOT,
        5: EVERY_FLOW_SLOT,
    }


def test_watched_for_its_time_then_read_then_given() -> None:
    flows = Flows(watch=100, keep=1000)
    assert flows.begin(0b110, now=5) == 0b110
    assert flows.begin(0b110, now=6) == 0
    assert flows.seen_enough(now=104) == ()
    assert flows.seen_enough(now=105) == (2, 3)
    assert flows.settled(0b110) == 0, "not before they are read"
    flows.note({2: FLOW_SLOTS, 3: 0, 9: FLOW_SLOTS})
    assert flows.settled(0b111) == 0b110
    assert flows.give(0b110, 2, now=110) == {2: FLOW_SLOTS, 3: 0}
    assert flows.said() == ((2, FLOW_SLOTS),)
    assert flows.begin(0b110, now=111) == 0b110, "it begins anew when they come back"


def test_kept_for_its_time_or_while_it_drains() -> None:
    flows = Flows(watch=1, keep=1000)
    flows.restore({2: FLOW_SLOTS, 3: FLOW_SLOTS}, now=50)
    assert flows.over(0b110, now=1049) == []
    assert flows.over(0b010, now=1049) == [], "of 3 nothing is answered any more"
    assert flows.said() == ((2, FLOW_SLOTS),)
    assert flows.over(0b010, now=1050) == [2]
    assert flows.said() == ()


def test_what_does_not_go_is_forgotten() -> None:
    flows = Flows(watch=100, keep=1000)
    flows.begin(0b11, now=0)
    flows.seen_enough(now=100)
    flows.note({1: FLOW_SLOTS, 2: FLOW_SLOTS})
    flows.keep_only(0b10)
    assert flows.settled(0b11) == 0b10
    assert flows.give(0b01, 2, now=100) == {1: 0}


def test_what_is_left_to_whom() -> None:
    draining = TALKER._replace(draining=0b1, flows=((1, FLOW_SLOTS),))
    other = TALKER._replace(draining=0b11, flows=((1, 0b100),))
    holding = TALKER._replace(held=0b1)
    for others, left in (
        ([], {}),
        ([draining], {1: FLOW_SLOTS}),
        ([draining, other], {1: FLOW_SLOTS | 0b100, 2: 0}),
        ([holding, draining], {1: EVERY_FLOW_SLOT}),
    ):
        assert InheritedFlows(D).look(0, 0b11, others, None, now=0) == left


def test_who_was_outrun_leaves_everything_until_it_knows() -> None:
    left = InheritedFlows(D)
    never = Told(0, 0, [])
    assert left.look(0, 0b1, [], never, now=0) == {1: EVERY_FLOW_SLOT}
    assert left.look(0b1, 0b10, [], never, now=9 * D) == {1: EVERY_FLOW_SLOT, 2: EVERY_FLOW_SLOT}
    assert left.look(0b11, 0, [], None, now=9 * D) == {}
    # What was taken by one who knew all stays as it is when it is outrun later.
    draining = TALKER._replace(draining=0b1)
    assert left.look(0b11, 0, [draining], Told(0, 0b1, []), now=9 * D) == {1: 0}


def test_who_was_outrun_goes_by_what_it_is_told_up_to_d_later() -> None:
    left = InheritedFlows(D)
    assert left.look(0, 0b11, [], Told(D - 1, 0, []), now=0) == {
        1: EVERY_FLOW_SLOT,
        2: EVERY_FLOW_SLOT,
    }
    assert left.look(0b11, 0, [], Told(D - 1, 0, []), now=D) == {
        1: EVERY_FLOW_SLOT,
        2: EVERY_FLOW_SLOT,
    }
    assert left.look(0b11, 0, [], Told(D, 0b10, []), now=D) == {2: EVERY_FLOW_SLOT}
    draining = TALKER._replace(draining=0b10)
    assert left.look(0b10, 0, [draining], Told(D, 0, [draining]), now=D) == {2: EVERY_FLOW_SLOT}
    assert left.look(0b10, 0, [draining], Told(D, 0, []), now=D) == {}


def test_who_knew_all_and_is_outrun_later_goes_by_what_it_is_told_at_once() -> None:
    left = InheritedFlows(D)
    draining = TALKER._replace(draining=0b1, flows=((1, FLOW_SLOTS),))
    assert left.look(0, 0b1, [draining], None, now=0) == {1: FLOW_SLOTS}
    assert left.look(0b1, 0, [draining], Told(1, 0b1, []), now=1) == {1: FLOW_SLOTS}
    assert left.look(0b1, 0, [draining], Told(1, 0, []), now=1) == {}


def test_what_somebody_asked_for_when_it_opened_is_left_alone_until_that_one_speaks() -> None:
    left = InheritedFlows(D)
    asks = TALKER._replace(want=0b1)
    assert left.look(0, 0b11, [asks], None, now=0) == {1: EVERY_FLOW_SLOT}
    # Who asks later cannot have had it since: it is ours.
    later = asks._replace(word=(1, 1, 2))
    assert left.look(0b1, 0, [later], None, now=1) == {}


def test_what_a_predecessor_was_taking_waits_until_all_is_known() -> None:
    left = InheritedFlows(D)
    left.restore(0b1, now=5)
    assert left.look(0b1, 0, [], Told(D + 4, 0, []), now=D + 4) == {1: EVERY_FLOW_SLOT}
    assert left.look(0b1, 0, [], Told(D + 5, 0, []), now=D + 5) == {}


def test_a_node_watches_what_it_gives_away_and_the_next_one_leaves_it_alone() -> None:
    lan = cluster(watch=300 * MILLISECOND, keep=SECOND)
    giver = lan.nodes[1]
    before = giver.kernel.owned
    assert before
    for events in lan.events.values():
        events.clear()
    lan.flow_slots = FLOW_SLOTS
    giver.drain(now=lan.now)
    lan.run(lan.now + 200 * MILLISECOND)
    assert giver.kernel.watching == before
    lan.run(lan.now + 300 * MILLISECOND)
    assert (giver.kernel.owned, giver.kernel.draining) == (0, before)
    (bucket,) = buckets_of(before & -before)
    (read,) = (event for event in lan.events[1] if isinstance(event, ReadFlowSlots))
    assert bucket in read.buckets
    told = [event for event in lan.events[1] if event == read or event[:1] == (bucket,)]
    assert told == [
        SetFlowSlots(bucket, 0),
        SetBucket(bucket, BucketState.WATCHING),
        SetBucket(bucket, BucketState.OWNED),
        read,
        SetFlowSlots(bucket, FLOW_SLOTS),
        SetBucket(bucket, BucketState.DRAINING),
    ]
    (taker,) = (one for one in lan.nodes.values() if one.kernel.taking & before & -before)
    assert taker.kernel.flow_slots[bucket] == FLOW_SLOTS
    # When the time is over the giver stops first, and the taker answers them after that.
    lan.run(lan.now + 2 * SECOND)
    assert giver.kernel.flow_slots[bucket] == 0
    assert taker.kernel.flow_slots[bucket] == 0
    assert taker.kernel.taking, "connections may still be there"


def test_what_a_giver_of_many_buckets_says_fits_in_a_frame() -> None:
    lan = Lan(*(node(me, total=256, watch=300 * MILLISECOND, keep=SECOND) for me in THREE))
    lan.run(4 * SECOND)
    lan.nodes[1].drain(now=lan.now)
    lan.nodes[2].drain(now=lan.now)
    lan.flow_slots = FLOW_SLOTS
    lan.run(lan.now + SECOND)
    giver, taker = lan.nodes[1], lan.nodes[3]
    assert {FLOW_SLOTS, EVERY_FLOW_SLOT} <= set(giver.flows.kept.values()), "some do not fit"
    for bucket, flow_slots in giver.flows.kept.items():
        assert taker.kernel.flow_slots[bucket] == flow_slots
    codec = Codec(1, {0: bytes(16)}, 0, total=256)
    assert max(len(codec.encode(one)) for one in lan.sent) <= FRAME


def test_nothing_is_given_to_who_is_silent_for_a_restart() -> None:
    lan = cluster(watch=2 * SECOND, keep=SECOND)
    giver, taker = lan.nodes[1], lan.nodes[2]
    before = giver.kernel.owned
    giver.drain(now=lan.now)
    lan.nodes[3].drain(now=lan.now)
    lan.run(lan.now + 300 * MILLISECOND)
    assert giver.kernel.watching & lan.said(2).want, "it is asked for"
    taker.prepare_restart(now=lan.now)
    lan.run(lan.now + 300 * MILLISECOND)
    del lan.nodes[2]
    lan.run(lan.now + 3 * SECOND)
    assert giver.kernel.owned == before
    lan.nodes[2] = Node(
        taker.state.config, incarnation=2, handover=HandOver.decode(taker.hand_over()), now=lan.now
    )
    lan.run(lan.now + 5 * SECOND)
    assert giver.kernel.owned == 0


def test_a_move_called_off_is_watched_no_more() -> None:
    lan = cluster(watch=300 * MILLISECOND, keep=SECOND)
    giver = lan.nodes[1]
    before = giver.kernel.owned
    giver.drain(now=lan.now)
    lan.run(lan.now + 200 * MILLISECOND)
    giver.undrain(now=lan.now)
    lan.run(lan.now + SECOND)
    assert (giver.kernel.owned, giver.kernel.watching) == (before, 0)


def test_nobody_watches_during_a_planned_restart() -> None:
    lan = cluster(watch=300 * MILLISECOND, keep=SECOND)
    giver = lan.nodes[1]
    giver.drain(now=lan.now)
    lan.run(lan.now + 200 * MILLISECOND)
    assert giver.kernel.watching
    giver.prepare_restart(now=lan.now)
    assert (giver.kernel.watching, giver.kernel.draining) == (0, 0)
