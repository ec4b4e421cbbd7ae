"""What is said of, or promised to, an incarnation that is over gives the next one nothing."""

from __future__ import annotations

import pytest

from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.serving.actions import (
    BucketState,
    Note,
    Reception,
    SetBack,
    SetBucket,
    SetDeadline,
)
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, cluster, taken


@pytest.mark.parametrize("incarnation", [10, 99])
def test_only_the_acknowledgement_of_this_incarnation_gives_a_lease(incarnation: int) -> None:
    lan = cluster()
    one = lan.nodes[1] = Node(lan.nodes[1].state.config, incarnation=99, now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    lan.deaf.add(1)
    lan.run(lan.now + 150 * MS)
    known = lan.said(2)
    before = one.state.votes.holder.proofs[2], one.state.votes.holder.contact[2]
    late = known._replace(
        sequence=known.sequence + 1,
        heard=Echoes.said((Heard(1, incarnation, one.sequence),)),
        grants=((1, 0b1111),),
    )
    assert one.receive(late, now=lan.now) is Reception.ACCEPTED
    after = one.state.votes.holder.proofs[2], one.state.votes.holder.contact[2]
    assert (after != before) == (incarnation == one.incarnation)


def test_a_memory_that_was_saved_and_brought_back_closes_all_and_notes_what_it_promised() -> None:
    lan = cluster()
    one = lan.nodes[1]
    lan.events[1].clear()
    known = lan.said(2)
    lately = Heard(1, one.incarnation, one.sequence + 1)
    ahead = known._replace(sequence=known.sequence + 1, heard=Echoes.said((lately,)))
    assert one.receive(ahead, now=lan.now) is Reception.AHEAD
    assert taken(one) == [
        *(SetBucket(bucket, BucketState.NONE) for bucket in range(1, 5)),
        SetDeadline(0, sooner=False),
        Note(lan.now + DEFAULT.promise(DEFAULT.restart)),
        SetBack(2, lately.sequence, one.sequence),
    ]
    lan.run(lan.now + SECOND)
    assert lan.said(1).sequence < lately.sequence, "it says nothing more"


def test_of_who_was_removed_meanwhile_nothing_is_declined() -> None:
    lan = cluster()
    one = lan.nodes[1]
    del one.state.hearing.peers.all[2]
    one.decline(2)
    assert 2 not in one.state.hearing.peers.all
