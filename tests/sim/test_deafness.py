"""Who does not hear, or is not heard, withholds nothing from a majority that hear one another."""

from __future__ import annotations

from random import Random

import pytest

from clusterip.core.lease.timing import PROFILES, SERVE_WITHIN
from tests.sim.deafness import OneWay, OneWayFast, Watch, patterns
from tests.sim.healing import fault
from tests.sim.host import Host
from tests.sim.schedule import Story, tell
from tests.sim.world import MS, SECOND, World

THREE = frozenset({1, 2, 3})
STORIES = 120
BATCH = 20


class StrictWorld(World):
    """A world in which two never answer, however they hear each other."""

    def hidden(self, one: Host, other: Host) -> bool:
        return False


def begin(world: World, voters: frozenset[int]) -> None:
    for name in sorted(voters):
        world.start(world.add(voters, name))


@pytest.mark.parametrize("first", range(0, STORIES, BATCH))
@pytest.mark.parametrize("story", [OneWay, OneWayFast])
def test_one_way_deafness_of_one_or_two(story: type[Story], first: int) -> None:
    tell(range(first, first + BATCH), story)


@pytest.mark.parametrize("profile", ["default", "fast"])
@pytest.mark.parametrize("name", sorted(THREE))
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


@pytest.mark.parametrize("profile", ["default", "fast"])
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
