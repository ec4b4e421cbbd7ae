"""When a node is calm, and when it is not any more."""

from __future__ import annotations

from clusterip.core.lease import calm
from clusterip.core.lease.timing import DEFAULT
from tests.core.lease.lan import Lan, node

T = DEFAULT.interval


def serving() -> Lan:
    lan = Lan(*(node(me) for me in (1, 2, 3)))
    lan.run(4 * DEFAULT.settle)
    return lan


def test_a_node_that_serves_in_peace_is_calm() -> None:
    lan = serving()
    state = lan.nodes[1].state
    assert state.attention.calm_until > lan.now
    assert calm.is_calm(state, lan.now)
    assert not calm.is_calm(state, state.attention.calm_until)


def test_who_is_cut_off_is_not_calm_when_its_leases_are_about_to_end() -> None:
    lan = serving()
    state = lan.nodes[1].state
    assert state.kernel.open
    assert state.attention.calm_until <= state.kernel.deadline - T


def test_who_drains_is_not_calm() -> None:
    lan = serving()
    lan.nodes[1].drain(now=lan.now)
    lan.run(lan.now + 4 * T)
    assert lan.nodes[1].state.kernel.draining
    assert lan.nodes[1].state.attention.calm_until == 0
