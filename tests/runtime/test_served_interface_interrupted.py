"""A daemon's interface: killed, or an error, at any step of taking it over or giving it back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from clusterip.core.config.model import Config
from clusterip.core.errors import RefusedError
from tests.runtime.served import CHANGED, MAIL, WEB, entered, served
from tests.runtime.worlds import ETH0, ETH1, Fault, Killed, World, check_safe


def upgraded(world: World) -> World:
    """Return the world after an upgrade of what is installed."""
    world.maps.outdated = set(world.maps.by_index)
    return world


def with_no_room(world: World) -> World:
    """Return it after one to a version that has no room for the rules."""
    world.maps.room = 0
    return upgraded(world)


def unrelated(world: World) -> World:
    """Return it after one to a version that reads no more than what was taken."""
    world.maps.unreadable = set(world.maps.by_index)
    return world


def elsewhere(config: Config = WEB) -> World:
    """Return what a daemon left on eth1."""
    world = World()
    served(world).enter(config, "eth1")
    return world


START: dict[str, Callable[[], World]] = {
    "empty": World,
    "own": lambda: entered(serving=True),
    "changed": lambda: entered(CHANGED, serving=True),
    "another": lambda: entered(MAIL, serving=True),
    "own of another version": lambda: upgraded(entered(serving=True)),
    "another of another version": lambda: upgraded(entered(MAIL, serving=True)),
    "own that there is no room for": lambda: with_no_room(entered(serving=True)),
    "another that there is no room for": lambda: with_no_room(entered(MAIL)),
    "own of an unrelated version": lambda: unrelated(entered(serving=True)),
    "another of an unrelated version": lambda: unrelated(entered(MAIL, serving=True)),
    "own elsewhere": elsewhere,
    "own elsewhere of another version": lambda: upgraded(elsewhere()),
    "own elsewhere that there is no room for": lambda: with_no_room(elsewhere()),
    "own elsewhere of an unrelated version": lambda: unrelated(elsewhere()),
    "another elsewhere of an unrelated version": lambda: unrelated(elsewhere(MAIL)),
}


@pytest.mark.parametrize("start", START)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_while_it_enters(start: str, after: bool) -> None:
    plain = START[start]()
    served(plain).enter(WEB, "eth0")
    assert not plain.seen().of_others
    assert plain.maps.indices() == (ETH0.index,)
    own = World().seen()
    for at in range(200):
        world, fault = START[start](), Fault(at, after)
        with contextlib.suppress(Killed):
            served(world, fault=fault).enter(WEB, "eth0")
        check_safe(world, own)
        served(world).enter(WEB, "eth0")
        assert world.seen() == plain.seen()
        served(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_while_it_leaves(after: bool) -> None:
    own = World().seen()
    for at in range(200):
        world, fault = entered(serving=True), Fault(at, after)
        with contextlib.suppress(Killed):
            served(world, fault=fault).leave(ETH0.index)
        check_safe(world, own)
        served(world).enter(WEB, "eth0")
        served(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead


def test_an_error_at_any_step_while_it_enters() -> None:
    own = World().seen()
    for at in range(200):
        world, fault = World(), Fault(at, error=RefusedError("no", "yes"))
        with contextlib.suppress(RefusedError):
            served(world, fault=fault).enter(WEB, "eth0")
        if fault.failing is None:
            break
        if fault.failing[0] != "guard":  # which is an alarm, and no error
            assert world.seen() == own
    assert fault.failing is None


def test_a_guard_that_is_interrupted_leaves_nothing() -> None:
    own = World().seen()
    for at in range(20):
        world = World()
        world.links.links = [ETH0]
        served(world).enter(WEB, "eth0")
        world.links.links.append(ETH1)
        fault = Fault(at)
        with contextlib.suppress(Killed):
            served(world, fault=fault).guard(ETH0.index)
        served(world).leave(ETH0.index)
        assert world.seen() == own
        if not fault.dead:
            break
    assert not fault.dead
