"""What another version left and nobody here can read is cleared, as far as it is in the way."""

from __future__ import annotations

import contextlib

import pytest

from clusterip.core.errors import RefusedError
from clusterip.runtime.clearing import Clearing
from tests.runtime.served import ELSEWHERE, MAIL, VIP, WEB, entered, served, with_rule
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, World, check_safe


def unreadable(world: World, *, recorded: bool = True) -> World:
    world.maps.unreadable = set(world.maps.by_index)
    world.maps.unrecorded = set() if recorded else set(world.maps.by_index)
    return world


@pytest.mark.parametrize("recorded", [True, False])
def test_flushed(recorded: bool) -> None:
    own = World().seen()
    world = unreadable(with_rule(), recorded=recorded)
    assert Clearing(world.netns()).unreadable() == (ETH0.index,)
    (mac,) = world.links.macs(ETH0.index)
    (address,) = {one for one in world.links.addresses(ETH0.index) if not one.is_multicast}
    world.table().flush()
    (said,) = world.notices
    assert said.startswith("eth0: took away the rules of another release")
    if recorded:
        assert world.seen() == own
        return
    assert str(address) in said
    assert said.endswith(f"left in the MAC filter: {mac}")
    now = world.seen()
    assert (now.addresses, now.running, now.guards) == (own.addresses, own.running, own.guards)
    assert world.links.macs(ETH0.index) == {mac}


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step(after: bool) -> None:
    own = World().seen()
    for at in range(50):
        world, fault = unreadable(with_rule()), Fault(at, after)
        with contextlib.suppress(Killed):
            Clearing(world.netns(fault=fault)).clear(ETH0.index)
        check_safe(world, own)
        world.table().flush()
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead
    assert fault.calls.index("remove_address") < fault.calls.index("clear")
    assert fault.calls[-1] == "remove"


def test_of_an_interface_that_is_gone_the_guards_go() -> None:
    world = unreadable(with_rule())
    world.links.links.remove(ETH0)
    assert world.hooks.guards
    world.table().flush()
    assert not world.hooks.guards
    assert not world.maps.by_index
    assert world.notices == ["took away the rules of another release"]


def test_a_qdisc_that_another_interface_needs_stays_and_is_that_ones_to_give_back() -> None:
    world = unreadable(with_rule())
    pristine = World().seen()
    served(world).enter(ELSEWHERE, "eth1")
    world.maps.unreadable = {ETH0.index}
    Clearing(world.netns()).clear(ETH0.index)
    assert {ETH0.index, ETH1.index} <= world.hooks.clsact
    served(world).leave(ETH1.index)
    assert world.seen() == pristine


def test_not_beside_a_daemon_that_lives() -> None:
    world = unreadable(entered())
    before = world.seen()
    with pytest.raises(RefusedError, match="the daemon of cluster web runs"):
        world.table(None, "web").flush()
    assert world.seen() == before


def test_a_daemon_leaves_alone_what_is_not_in_its_way() -> None:
    world = with_rule("eth1")
    before = unreadable(world).seen()
    served(world).enter(WEB, "eth0")
    served(world).leave(ETH0.index)
    assert world.seen() == before


def test_a_daemon_that_lives_is_left_alone() -> None:
    world = unreadable(entered(MAIL))
    before = world.seen()
    with pytest.raises(RefusedError, match="eth0 is shared by the daemon of cluster mail"):
        served(world, "mail").enter(WEB, "eth0")
    assert world.seen() == before
    _, adopted = served(world).enter(WEB, "eth0")
    assert not adopted


def test_a_daemon_says_what_it_cleared(caplog: pytest.LogCaptureFixture) -> None:
    world = unreadable(entered(), recorded=False)
    served(world).enter(WEB, "eth0")
    (line,) = caplog.messages
    assert line.startswith("eth0: took away the rules of another release; what it had added")
    assert VIP in world.links.addresses(ETH0.index)
