"""What a packet meets in each state of its bucket, and holding the programs to it."""

from __future__ import annotations

from clusterip.adapters.abi import NO_DEADLINE, BucketState, Reason
from clusterip.adapters.clock import boottime
from clusterip.core.packets.state import InterfaceState
from tests.bpf.loaded import TC_ACT_SHOT, TC_ACT_UNSPEC, XDP_DROP, XDP_PASS, Loaded
from tests.bpf.reference import Socket, World, decide

SYN, SYN_ACK, ACK, FIN_ACK, RST = 0x02, 0x12, 0x10, 0x11, 0x04
STATES = (BucketState.TAKING, BucketState.DRAINING)
WITHOUT = {BucketState.TAKING: Reason.DROP_TAKING, BucketState.DRAINING: Reason.DROP_DRAINING}
WITH = {BucketState.TAKING: Reason.ACCEPT_TAKING, BucketState.DRAINING: Reason.ACCEPT_DRAINING}
ON_SYN = {BucketState.TAKING: Reason.ACCEPT_TAKING, BucketState.DRAINING: Reason.DROP_DRAINING}


def hold(
    rules: InterfaceState,
    loaded: Loaded,
    frame: bytes,
    state: BucketState,
    expected: Reason,
    here: frozenset[Socket] = frozenset(),
    deadline: int = NO_DEADLINE,
) -> None:
    """Hold both hooks and the reference against what is expected."""
    world = World(rules, {0: [state]}, {0: deadline}, here, boottime)
    loaded.put(world)
    decision = decide(frame, world)
    assert decision.reason is expected
    assert loaded.ingress(frame) == (TC_ACT_SHOT if decision.drops else TC_ACT_UNSPEC)
    assert loaded.maps.count(1).packets[expected] == 1
    early = decision.drops_early
    assert loaded.xdp(frame) == (XDP_DROP if early else XDP_PASS)
    assert sum(loaded.maps.count(1).packets.values()) == 1 + early
