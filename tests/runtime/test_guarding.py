"""Which interfaces are guarded, and whose the qdisc is that the guards hang on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clusterip.adapters.links import Link
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime.guarding import Guarding
from tests.runtime.steps import FIRST, ON_ETH1, TWO, add, delete, prepared
from tests.runtime.worlds import ETH0, ETH1, World


@pytest.mark.parametrize(
    ("other", "guarded"),
    [
        (ETH1, True),
        (replace(ETH1, up=False), True),
        (replace(ETH1, kind="bridge"), True),
        (replace(ETH1, kind="vlan"), True),
        (replace(ETH1, master="br0"), False),
        (replace(ETH1, ethernet=False), False),
        (replace(ETH1, kind="dummy"), False),
        (replace(ETH1, vrf="blue"), False),
    ],
)
def test_which(other: Link, guarded: bool) -> None:
    world = World()
    world.links.links = [ETH0, other]
    before = world.seen()
    prepared(world, (add(TWO),))
    assert world.hooks.guards == ({(other.index, ETH0.index)} if guarded else set())
    assert [view.unguarded for view in world.table().view()] == [()]
    prepared(world, (delete(TWO),))
    assert world.seen() == before


def test_what_becomes_a_port_is_left_alone_and_forgotten() -> None:
    world = World()
    prepared(world, (add(FIRST),))
    world.links.links[1] = replace(ETH1, master="br0")
    prepared(world, (add(TWO),))
    assert not world.hooks.guards
    assert world.hooks.clsact == {ETH0.index}
    state = world.state()
    assert state is not None
    assert state.taken.guards == ()


def test_what_comes_later_is_told_and_guarded_by_the_next_change() -> None:
    world = World()
    world.links.links = [ETH0]
    prepared(world, (add(FIRST),))
    world.links.links = [ETH0, ETH1]
    assert [view.unguarded for view in world.table().view()] == [("eth1",)]
    prepared(world, (add(TWO),))
    assert [view.unguarded for view in world.table().view()] == [()]


def test_where_it_cannot_be_it_is_told() -> None:
    world = World()
    world.hooks.foreign = {ETH1.index}
    prepared(world, (add(TWO),))
    assert [view.unguarded for view in world.table().view()] == [("eth1",)]
    prepared(world, (delete(TWO),))
    assert world.state() is None
    assert not world.hooks.clsact


@pytest.mark.parametrize("order", [(TWO, ON_ETH1), (ON_ETH1, TWO)])
@pytest.mark.parametrize("own", [set(), {ETH0.index}, {ETH0.index, ETH1.index}])
def test_the_qdisc_goes_with_the_last_that_uses_it(
    order: tuple[object, ...], own: set[int]
) -> None:
    for first in (TWO, ON_ETH1):
        world = World()
        world.hooks.clsact = set(own)
        before = world.seen()
        last = ON_ETH1 if first is TWO else TWO
        prepared(world, (add(*(TWO, ON_ETH1) if order[0] is TWO else (ON_ETH1, TWO)),))
        assert world.hooks.clsact == {ETH0.index, ETH1.index}
        prepared(world, (delete(first),))
        assert world.hooks.clsact == {ETH0.index, ETH1.index}
        prepared(world, (delete(last),))
        assert world.seen() == before


def test_guards_go_when_the_shared_interface_is_gone() -> None:
    world = World()
    prepared(world, (add(TWO),))
    assert world.hooks.guards
    world.links.links = [ETH1]
    world.hooks.clsact.discard(ETH0.index)
    world.table().edit(lambda chain: chain)
    assert not world.hooks.guards
    assert not world.hooks.clsact
    assert world.state() is None


def test_a_record_of_what_is_gone_is_no_trouble() -> None:
    world = World()
    prepared(world, (add(TWO),))
    world.links.links = [ETH0]
    world.hooks.guards.clear()
    world.hooks.clsact.discard(ETH1.index)
    state = world.state()
    assert isinstance(state, InterfaceState)
    guarding = Guarding(world.netns(), world.links.all())
    guarding.put(ETH0, state.taken)
    guarding.take(ETH0.index, state.taken.guards)
    prepared(world, (delete(TWO),))
    assert world.state() is None


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_one_that_goes_while_it_is_looked_at_is_no_fault(when: str) -> None:
    world = World()
    if when == "before":
        world.hooks.gone = {ETH1.index}
    prepared(world, (add(FIRST),))
    world.hooks.gone = {ETH1.index}
    assert [view.unguarded for view in world.table().view()] == [()]
    if when == "between":
        prepared(world, (add(TWO),))
    state = world.state()
    assert state is not None
    assert ETH0.index in world.hooks.running
    world.table().flush()
    assert world.state() is None
    assert not world.hooks.running
