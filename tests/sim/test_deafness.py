"""Who does not hear, or is not heard, withholds nothing from a majority that hear one another."""

from __future__ import annotations

from random import Random

import pytest

from clusterip.core.lease.timing import PROFILES, SERVE_WITHIN
from tests.sim.coordinators import PEERS, Make
from tests.sim.deafness import OneWay, OneWayFast, Watch, patterns
from tests.sim.healing import fault
from tests.sim.host import Host
from tests.sim.mutants.knowing import TOLD_AT_ONCE
from tests.sim.rule import TwoOwnersError
from tests.sim.schedule import Story, tell
from tests.sim.world import MS, SECOND, World

THREE = frozenset({1, 2, 3})
NOBODY: frozenset[int] = frozenset()
STORIES = 25
BATCH = 5
PROFILE = pytest.mark.parametrize(
    "profile", ["default", pytest.param("fast", marks=pytest.mark.long)]
)


class StrictWorld(World):
    """A world in which two never answer, however they hear each other."""

    strict = True


def begin(world: World, voters: frozenset[int], *, witnesses: frozenset[int] = NOBODY) -> None:
    for name in sorted(voters):
        host = world.add(voters, name)
        host.witness = name in witnesses
        world.start(host)


@pytest.mark.parametrize(
    ("story", "first"),
    [
        pytest.param(story, first, marks=[pytest.mark.long] if first or story is not OneWay else [])
        for story in (OneWay, OneWayFast)
        for first in range(0, STORIES, BATCH)
    ],
)
def test_one_way_deafness_of_one_or_two(story: type[Story], first: int) -> None:
    tell(range(first, first + BATCH), story)


@PROFILE
@pytest.mark.parametrize(
    "name", [1, *(pytest.param(one, marks=pytest.mark.long) for one in (2, 3))]
)
@pytest.mark.parametrize("pattern", range(5))
def test_one_of_three(profile: str, name: int, pattern: int) -> None:
    """From the start, and while it runs, with another host that dies and comes back meanwhile."""
    timing, within = PROFILES[profile], SERVE_WITHIN[profile]
    ways = patterns(name, THREE)[pattern]
    other = name % 3 + 1
    for early in (True, False):
        world = World(Random(name), timing, 12)
        world.weather.cut |= ways if early else set()
        begin(world, THREE)
        watch = Watch(world, within)
        watch.run(2 * within + timing.settle)
        world.weather.cut |= ways
        watch.run(4 * within)
        world.crash(world.hosts[other])
        watch.run(within // 2)
        world.start(world.hosts[other])
        watch.run(6 * within)
        world.weather.cut.clear()
        watch.run(6 * within)
        assert not fault(world)


@PROFILE
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("restarted", [0, 1, 2])
def test_of_two_hosts_the_deaf_one_serves_alone(profile: str, early: bool, restarted: int) -> None:
    """It cannot know that the other lives; the other hears that it serves, and does not."""
    pair, timing = frozenset({1, 2}), PROFILES[profile]
    world = StrictWorld(Random(5), timing, 12, alive=True)
    world.weather.cut |= {(2, 1)} if early else set()
    begin(world, pair)
    first, second = world.hosts[1], world.hosts[2]
    quiet = timing.promise(timing.restart) + 2 * SERVE_WITHIN[profile]
    world.run(quiet)
    world.weather.cut.add((2, 1))
    world.run(world.now + quiet)
    if restarted:
        world.crash(world.hosts[restarted])
        world.run(world.now + 50 * MS)
        world.start(world.hosts[restarted])
    world.run(world.now + 2 * quiet)
    everything = (1 << world.total) - 1
    assert (first.serves(world.now), second.serves(world.now)) == (everything, 0)
    assert world.two_owner_alarms == 0
    world.weather.cut.clear()
    world.run(world.now + 2 * quiet + 3 * SECOND)
    assert not fault(world)


@pytest.mark.parametrize("away", [1500 * MS, 4 * SECOND])
def test_two_become_three_and_one_has_not_read_that_yet(away: int) -> None:
    """It does not go on alone as the other, which has, stands still: that serves with a third."""
    pair, three = frozenset({1, 2}), frozenset({1, 2, 3})
    world = StrictWorld(Random(3), PROFILES["default"], 4, alive=True)
    begin(world, pair)
    world.run(9 * SECOND)
    world.start(world.add(three, 3))
    world.run(world.now + 100 * MS)
    world.set_voters(world.hosts[1], three)
    world.run(world.now + 50 * MS)
    world.pause(world.hosts[1])
    world.run(world.now + away)
    world.resume(world.hosts[1])
    world.run(world.now + 8 * SECOND)
    assert world.two_owner_alarms == 0


def test_that_rule_is_strict() -> None:
    """Of two that are cut off from one another both serve, which nothing but the rule knows."""
    for kind in (World, StrictWorld):
        world = kind(Random(5), PROFILES["default"], 12, alive=True)
        begin(world, frozenset({1, 2}))
        world.run(6 * SECOND)
        world.weather.cut |= {(1, 2), (2, 1)}
        if kind is World:
            world.run(world.now + 6 * SECOND)
            assert world.hosts[1].serves(world.now) & world.hosts[2].serves(world.now)
        else:
            with pytest.raises(TwoOwnersError):
                world.run(world.now + 6 * SECOND)


class LongDrains(World):
    """A world in which drains last."""

    def drained(self, host: Host, bucket: int) -> None:
        pass


@pytest.mark.parametrize("make", [PEERS, TOLD_AT_ONCE.make()])
def test_what_others_told_before_a_bucket_was_ours_may_be_older_than_its_drain(
    make: Make,
) -> None:
    """The first gives its bucket to the third, which learns that from nobody.

    The second and the third promise it to the third when they heard nothing of the first for D,
    the fourth because it promised it to nobody; that one tells what it heard before the bucket
    was given away.
    """
    world = LongDrains(Random(1), PROFILES["default"], 1, make=make)
    world.watch = 0
    begin(world, frozenset(range(1, 6)), witnesses=frozenset({2, 4, 5}))
    cut = world.weather.cut
    world.run(200 * MS)
    cut.add((1, 4))
    world.run(4 * SECOND)
    giver, taker = world.hosts[1], world.hosts[3]
    assert giver.serves(world.now) == 0b1
    cut |= {(3, 1), (5, 3)}
    world.tell(giver, lambda node, now: node.drain(now=now))
    world.run(world.now + 20 * MS)
    cut |= {(1, 2), (1, 3)}
    world.run(world.now + 30 * MS)
    cut.discard((1, 4))
    world.run(world.now + 350 * MS)
    cut.add((4, 3))
    cut.discard((3, 1))
    world.run(world.now + 150 * MS)
    assert giver.drains(world.now) == 0b1

    def taken() -> None:
        world.run(world.now + 250 * MS)
        assert giver.drains(world.now) == taker.taking == 0b1

    if make is PEERS:
        taken()
    else:
        with pytest.raises(TwoOwnersError):
            taken()
