"""What a planned restart waits for."""

from __future__ import annotations

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.serving.actions import RestartReady
from tests.core.lease.lan import MS, cluster


def test_a_restart_waits_for_who_was_not_heard_since_the_last_one() -> None:
    """It may have what drains here, and would take our silence for death."""
    lan = cluster()
    first = lan.nodes[1]
    first.drain(now=lan.now)
    lan.run(lan.now + 300 * MS)
    assert first.kernel.draining
    first.prepare_restart(now=lan.now)
    lan.run(lan.now + 100 * MS)
    handed = HandOver.decode(first.hand_over())
    again = Node(first.state.config, handover=handed, now=lan.now)
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
