"""What is said of, or promised to, a boot that is over gives the next one nothing."""

from __future__ import annotations

import pytest

from clusterip.core.lease.events import Reception
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from clusterip.core.messages.message import Heard
from tests.core.lease.lan import MS, cluster


@pytest.mark.parametrize("boot", [10, 99])
def test_only_the_acknowledgement_of_this_boot_gives_a_lease(boot: int) -> None:
    lan = cluster()
    one = lan.nodes[1] = Node(lan.nodes[1].config, boot=99, now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    lan.deaf.add(1)
    lan.run(lan.now + 150 * MS)
    known = next(m for m in reversed(lan.sent) if m.sender == 2)
    before = one.holder.proofs[2], one.holder.contact[2]
    late = known._replace(
        sequence=known.sequence + 1, heard=(Heard(1, boot, one.sequence),), grants=((1, 0b1111),)
    )
    assert one.receive(late, now=lan.now) is Reception.ACCEPTED
    after = one.holder.proofs[2], one.holder.contact[2]
    assert (after != before) == (boot == one.boot)
