"""A planned restart of another host: what drains here goes on, and nothing is given to that one."""

from __future__ import annotations

import pytest

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.serving.actions import BucketState, RestartReady, SetBucket
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, borne, node, restart_in

PAIR = frozenset({1, 2})
SILENCES = (300 * MS, 700 * MS, 1500 * MS, 4 * SECOND)


def closed(lan: Lan, me: int) -> list[int]:
    """Return the buckets that a node closed."""
    none = BucketState.NONE
    return [e.bucket for e in lan.events[me] if isinstance(e, SetBucket) and e.state is none]


def draining(voters: frozenset[int], *, alive: bool = False) -> Lan:
    """Return a cluster of which node 2 drains, and has connections."""
    lan = Lan(*(node(me, voters=voters, alive=alive) for me in sorted(voters)))
    lan.run(8 * SECOND)
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + 300 * MS)
    assert lan.nodes[2].kernel.draining
    lan.events[2].clear()
    return lan


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("alive", [False, True])
def test_of_the_other_of_two(silence: int, alive: bool) -> None:
    lan = draining(PAIR, alive=alive)
    restart_in(lan, 1, silence)
    lan.run(lan.now + SECOND)
    assert closed(lan, 2) == []


@pytest.mark.long
@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("apart", [0, 5 * MS, 20 * MS, 100 * MS])
@pytest.mark.parametrize("hosts", [3, 4, 5])
def test_of_two_others_at_once(silence: int, apart: int, hosts: int) -> None:
    """Each may be gone before it could say that it knows of the other's."""
    lan = draining(frozenset(range(1, hosts + 1)))
    left: dict[int, tuple[NodeConfig, HandOver]] = {}
    lan.nodes[1].prepare_restart(now=lan.now)
    lan.run(lan.now + apart)
    lan.nodes[3].prepare_restart(now=lan.now)
    ends = lan.now + SECOND
    while len(left) < 2:
        assert lan.now < ends
        lan.run(lan.now + 5 * MS)
        for me in {1, 3} - {*left}:
            ready = any(isinstance(one, RestartReady) for one in lan.events[me])
            if ready and not lan.nodes[me].kernel.actions:
                old = lan.nodes.pop(me)
                left[me] = old.state.config, HandOver.decode(old.hand_over())
    lan.run(lan.now + silence)
    for me, (config, document) in left.items():
        lan.nodes[me] = Node(config, handover=document, now=lan.now)
    lan.run(lan.now + SECOND)
    assert closed(lan, 2) == []


def test_one_that_does_not_come_back_ends_it_with_its_grace() -> None:
    lan = draining(PAIR)
    began = lan.now
    lan.nodes[1].prepare_restart(now=lan.now)
    lan.run(lan.now + 100 * MS)
    lan.nodes.pop(1).hand_over()
    lan.run(began + DEFAULT.restart - 200 * MS)
    assert closed(lan, 2) == []
    lan.run(began + DEFAULT.restart + 200 * MS)
    assert closed(lan, 2)


@pytest.mark.parametrize("lag", [1900 * MS, 1950 * MS, 1990 * MS])
def test_nothing_is_given_to_one_that_is_about_to_restart(lag: int) -> None:
    """It was watched until then, and would be drained as the other leaves."""
    lan = Lan(*(node(me, voters=PAIR, watch=2 * SECOND, keep=30 * SECOND) for me in sorted(PAIR)))
    lan.run(8 * SECOND)
    old = lan.nodes[1]
    answered = old.kernel.open | lan.nodes[2].kernel.open
    lan.nodes[2].drain(now=lan.now)
    lan.run(lan.now + lag)
    old.prepare_restart(now=lan.now)
    document = borne(lan, 1)
    ends = lan.now + 900 * MS
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert old.kernel.open | lan.nodes[2].kernel.open == answered == 0b1111
    lan.nodes[1] = Node(old.state.config, handover=document, now=lan.now)
    lan.run(lan.now + 3 * SECOND)
    assert lan.nodes[1].kernel.open == 0b1111


def test_one_that_serves_another_set_of_voters_restarts() -> None:
    """A third is added: the second was started anew with the new file, and the third as well."""
    lan = Lan(*(node(me, voters=PAIR, alive=True) for me in sorted(PAIR)))
    lan.run(8 * SECOND)
    first = lan.nodes[1]
    del lan.nodes[2]
    lan.run(lan.now + 2 * SECOND)
    assert first.kernel.open == 0b1111
    for me in (2, 3):
        lan.nodes[me] = Node(node(me, voters=THREE).state.config, incarnation=90 + me, now=lan.now)
        lan.events[me] = []
    lan.run(lan.now + 3 * SECOND)
    assert first.kernel.open == 0b1111
    first.prepare_restart(now=lan.now)
    document = borne(lan, 1)
    ends = lan.now + 3 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert not lan.nodes[2].kernel.open | lan.nodes[3].kernel.open
    lan.nodes[1] = Node(first.state.config, handover=document, now=lan.now)
    lan.run(lan.now + SECOND)
    assert lan.nodes[1].kernel.open == 0b1111
