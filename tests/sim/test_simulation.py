"""Stories, none of which may end with a bucket open on two hosts, or unserved.

`make sim` tells two thousand, as CI does, `make sim SEEDS=100000` more. A story that fails is told
again, with all that happened, by the command its failure prints.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import Codec
from tests.sim import rule
from tests.sim.coordinators import by_rules
from tests.sim.healing import fault
from tests.sim.schedule import Story, tell
from tests.sim.world import MS, SECOND, World

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 250
BATCH = 25


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(BATCH, SEEDS, BATCH))],
)
def test_no_bucket_on_two_hosts_and_all_heals(first: int) -> None:
    tell(range(first, first + BATCH))


def test_a_seed_is_one_story() -> None:
    def log(seed: int) -> list[str]:
        story = Story(seed, log=True)
        story.run()
        return story.world.log or []

    assert log(3) == log(3)
    assert log(3) != log(4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_the_same_over_real_datagrams(seed: int) -> None:
    codecs: dict[int, Codec] = {}

    def through(message: Message) -> Message:
        total = story.world.total
        codec = codecs.setdefault(total, Codec(1, {1: bytes(32)}, 1, total))
        return codec.decode(codec.encode(message))

    story = Story(seed, codec=through)
    told_once = Story(seed)
    assert story.run() == told_once.run()


def quiet(count: int) -> World:
    """Return `count` hosts on a good network, serving."""
    world = World(Random(1), DEFAULT, 12)
    voters = frozenset(range(1, count + 1))
    for name in voters:
        world.start(world.add(voters, name))
    world.run(4 * SECOND)
    assert not fault(world)
    return world


@pytest.mark.parametrize("count", [3, 5])
def test_survivors_serve_within_the_profile(count: int) -> None:
    world = quiet(count)
    world.reboot(world.hosts[2])
    died = world.now
    everything = (1 << world.total) - 1
    hosts = world.hosts.values()
    while sum(host.serves(world.now) & ~host.taking for host in hosts) != everything:
        world.run(world.now + 1_000_000)
    assert world.now - died < SECOND


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "at_once"), [(3, 2), (4, 2), (5, 3)])
def test_slow_restarts_at_once_leave_no_bucket_unserved(
    count: int, at_once: int, seed: int
) -> None:
    """Those who stay, and hear no majority meanwhile, give nothing away."""
    world = World(Random(seed), DEFAULT, 6)
    world.watch = 0
    voters = frozenset(range(1, count + 1))
    for name in voters:
        world.at(world.random.randrange(1, 50 * MS), world.start, world.add(voters, name))
    world.succeed = lambda host: world.at(  # type: ignore[method-assign]
        world.now + 2 * SECOND, world.start, host
    )
    world.lost_handovers = 0
    world.run(12 * SECOND + world.random.randrange(100 * MS))
    for host in world.random.sample(list(world.hosts.values()), at_once):
        world.tell(host, lambda node, now: node.prepare_restart(now=now))
        host.restarting = True
    end = world.now + 6 * SECOND
    unserved_since = 0
    while world.now < end:
        world.run(world.now + 10 * MS)
        served = 0
        for host in world.hosts.values():
            served |= host.serves(world.now)
        unserved_since = 0 if served == 0b111111 else unserved_since or world.now
        assert not unserved_since or world.now - unserved_since < 100 * MS


def test_a_quiet_cluster_stays_as_it_is() -> None:
    world = quiet(3)
    before = [host.open for host in world.hosts.values()]
    world.run(world.now + 20 * SECOND)
    assert [host.open for host in world.hosts.values()] == before
    assert not any(host.alarms for host in world.hosts.values())


def test_the_check_sees_two_owners() -> None:
    world = quiet(3)
    one, other, _ = world.hosts.values()
    other.open |= one.open
    with pytest.raises(AssertionError, match="are open on"):
        rule.check(world, one)


@pytest.mark.parametrize("seed", range(5))
def test_the_static_coordinator_serves_what_the_rules_give_it(seed: int) -> None:
    """Whatever happens to daemons and network: each host alone, and nobody else's."""
    world = World(Random(seed), DEFAULT, 6, make=by_rules)
    voters = frozenset({1, 2, 3})
    for name in voters:
        world.start(world.add(voters, name))
    given = {host.id: host.serves(world.now) for host in world.hosts.values()}
    assert list(given.values()) == [0b001001, 0b010010, 0b100100]
    first, second, third = world.hosts.values()
    befalls: tuple[Callable[[], object], ...] = (
        lambda: world.crash(first),
        lambda: world.pause(second),
        lambda: world.weather.cut.update({(1, 2), (2, 1)}),
        lambda: world.tell(third, lambda node, now: node.drain(now=now)),
        lambda: world.tell(third, lambda node, now: node.set_link(False, now=now)),
        lambda: world.start(first),
        lambda: world.resume(second),
        lambda: world.tell(third, lambda node, now: node.prepare_restart(now=now)),
    )
    for befall in befalls:
        befall()
        world.run(world.now + world.random.randrange(3 * SECOND))
        for host in world.hosts.values():
            rule.check(world, host)
            assert host.serves(world.now) == given[host.id]
    assert not any(host.alarms for host in world.hosts.values())
