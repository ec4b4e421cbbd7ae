"""The space that a daemon reserves is enough for the largest hand-over there may be."""

from __future__ import annotations

import msgspec

from clusterip.adapters import runfiles
from clusterip.core import left
from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.left import Had, Handed

ID = 2**64 - 1
TIME = 10**17
EVERY = (1 << 256) - 1
NODES = [ID - node for node in range(32)]


def test_all_buckets_of_a_large_cluster_drain() -> None:
    check = {"check": "c" * 150, "good": True, "latest": True, "in_a_row": 3, "detail": "d" * 80}
    node = HandOver(
        node=ID,
        boot=ID,
        sequence=2**62,
        config=ID,
        voters=NODES,
        before=NODES[1:],
        owned=EVERY,
        taking=EVERY,
        draining=EVERY,
        deadline=TIME,
        said=EVERY,
        since={2**62 - at: EVERY for at in range(10)},
        proofs=[Proven(one, TIME, EVERY) for one in NODES],
        promises=[Promised(one, ID, EVERY, TIME) for one in NODES],
        peers=[Known(one, ID, 2**62, TIME) for one in NODES],
        mute_until=TIME,
        leaving=True,
        incumbent=False,
        flows=dict.fromkeys(range(1, 257), ID),
        contact=dict.fromkeys(NODES, TIME),
        leads=[Leading(one, ID, TIME, TIME, TIME) for one in NODES],
        farewells=dict.fromkeys(NODES, TIME),
        lent_until=TIME,
        bound=dict.fromkeys(NODES, TIME),
        lone=False,
    )
    handed = Handed(
        boot="b" * 36,
        node=msgspec.Raw(node.encode()),
        draining_since=dict.fromkeys(range(1, 257), TIME),
        health={"healthy": True, "checks": {f"check{at}": check for at in range(8)}},
        weight=255,
        had=dict.fromkeys(range(1, 257), Had(state="draining", since=TIME, of=ID)),
    )
    assert 3 * len(left.encode(handed)) <= runfiles._HANDOVER_BYTES
