"""Who hears whom, and what counts of it."""

from __future__ import annotations

from clusterip.core.lease import contact
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, cluster


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
