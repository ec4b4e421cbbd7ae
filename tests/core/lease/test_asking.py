"""What a node makes of what it knows: what it asks for, and for how long."""

from __future__ import annotations

import pytest

from clusterip.core.lease import asking
from tests.core.lease.lan import cluster


@pytest.mark.parametrize("asks", [False, True])
def test_what_voters_still_grant_to_who_gave_it_up_is_not_contested(asks: bool) -> None:
    """Who asked for it then goes on asking; else nobody would, for a moment."""
    lan = cluster()
    taker, giver = lan.nodes[1], lan.nodes[3]
    bucket = giver.kernel.open & -giver.kernel.open
    said = taker.state.hearing.heard[3]._replace(held=0, want=bucket if asks else 0)
    taker.state.hearing.heard[3] = said
    assert dict(taker.state.hearing.heard[2].grants)[3] & bucket
    taker.state.votes.voter.hear((3, giver.incarnation), said.want, 0, renews=True, now=lan.now)
    assert bool(asking._contested(taker.state) & bucket) is asks
    del taker.state.hearing.heard[3]
    assert asking._contested(taker.state) & bucket, "who is not heard may ask"
