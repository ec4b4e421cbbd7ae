"""Stories of hosts that do not hear, or are not heard by, some of the others.

Deafness is one way: messages to a host are lost, its own arrive. Whoever hears nobody may withhold
nothing from a majority that hear one another: so from when the last thing changed, such a majority
has `within` to serve every bucket, and then serves it all the time.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

from clusterip.core.buckets import buckets_of
from clusterip.core.lease.timing import PROFILES, SERVE_WITHIN, Timing
from tests.sim.healing import NotHealedError
from tests.sim.schedule import Story
from tests.sim.world import MS, SECOND, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.host import Host

Ways = frozenset[tuple[int, int]]
"""Pairs (from, to) whose messages are lost."""


def patterns(name: int, voters: frozenset[int]) -> list[Ways]:
    """Return each way in which one host is deaf, or dumb to one."""
    others = sorted(voters - {name})
    return [
        frozenset((other, name) for other in others),
        *(frozenset({(other, name)}) for other in others),
        *(frozenset({(name, other)}) for other in others),
    ]


def able(world: World) -> frozenset[int]:
    """Return the hosts that could vote now."""
    return frozenset(
        host.id
        for host in world.hosts.values()
        if host.peer and host.link and not host.peer.state.votes.voter.muted(host.local(world.now))
    )


def majority(world: World) -> bool:
    """Return whether a majority of the voters hear one another, with one that may serve."""
    names = sorted(able(world))
    need = len(world.hosts) // 2 + 1
    return any(
        all(pair not in world.weather.cut for pair in permutations(some, 2))
        and any(not world.hosts[name].witness for name in some)
        for some in combinations(names, need)
    )


def promised_for_longer(world: World) -> bool:
    """Return whether some voter is bound by the grace of a planned restart."""
    return any(
        promise.until > host.local(world.now) + world.promise
        for host in world.hosts.values()
        if host.peer
        for promise in host.peer.state.votes.voter.promises.values()
    )


class Watch:
    """Sees that a majority that may serve does."""

    def __init__(self, world: World, within: int) -> None:
        self.world = world
        self.within = within
        self.known: tuple[object, ...] = ()
        self.right: dict[str, int] = {}
        """What was wrong -> when it was not, or might be, last."""
        self.longest: dict[str, int] = {}
        """Kind of fault -> the longest it lasted, ns."""

    def run(self, lasting: int) -> None:
        """Go on for so long, ns; NotHealedError when a bucket is not served in time."""
        world, end = self.world, self.world.now + lasting
        while world.now < end:
            world.run(world.now + 10 * MS)
            known = (able(world), frozenset(world.weather.cut))
            faults = self.faults()
            if known != self.known or not majority(world) or promised_for_longer(world):
                self.known, self.right = known, {}
            self.right = {one: self.right.get(one, world.now) for one in faults}
            for one, since in self.right.items():
                kind, took = one.split()[0], world.now - since
                self.longest[kind] = max(self.longest.get(kind, 0), took)
                if took > self.within * (1 + (kind == "TAKING")):
                    raise NotHealedError(
                        f"at {world.now / SECOND:.3f} s, for {took / SECOND:.3f} s: {one}"
                    )

    def faults(self) -> list[str]:
        """Return which buckets nobody serves, or are left to nobody."""
        world = self.world
        left = (1 << world.total) - 1
        drained = 0
        for host in world.hosts.values():
            left &= ~host.serves(world.now)
            drained |= host.drains(world.now)
        found = [f"SILENT {bucket}" for bucket in buckets_of(left)]
        for host in world.hosts.values():
            taking = host.taking & host.serves(world.now) & ~drained
            found += [f"TAKING {bucket} at {host.id}" for bucket in buckets_of(taking)]
        return found


class OneWay(Story):
    """One host or two are deaf in some way, from the start or not; something else happens."""

    profile = "default"

    def timing(self) -> Timing:
        return PROFILES[self.profile]

    def size(self) -> tuple[int, int, bool]:
        return self.random.choice((3, 5)), int(self.random.random() < 0.2), False

    def within(self) -> int:
        return SERVE_WITHIN[self.profile]

    def run(self) -> int:
        world, random = self.world, self.random
        self.ways = self.draw()
        world.lost_handovers = 0.0  # what these promised is another matter
        early = random.random() < 0.4
        if early:
            world.weather.cut |= self.ways
        for host in world.hosts.values():
            world.at(random.randrange(500 * MS), world.start, host)
        watch = Watch(world, self.within())
        world.say(f"lost: {sorted(self.ways)}{' from the start' if early else ''}")
        watch.run(5 * SECOND)
        befalls = random.sample(self.befalls(), random.randint(0, 2))
        for befall in befalls:
            world.at(world.now + random.randrange(3 * SECOND), befall)
        if not early:
            self.later(2 * SECOND, world.weather.cut.update, self.ways)
        watch.run(8 * SECOND)
        world.say("the end of it")
        watch.run(3 * SECOND)
        self.heal()
        self.watch()
        return world.handled

    def draw(self) -> Ways:
        names = self.random.sample(sorted(self.target), self.random.choice((1, 2)))
        ways: Ways = frozenset()
        for name in names:
            ways |= self.random.choice(patterns(name, self.target))
        return ways

    def befalls(self) -> list[Callable[[], None]]:
        return [self.die, self.restart, self.drain, self.reweigh]

    def die(self) -> None:
        host: Host = self.host()
        if host.node is not None and not host.restarting:
            self.world.crash(host)
            self.later(1500 * MS, self.world.start, host)


class OneWayFast(OneWay):
    """The same in the fast profile."""

    profile = "fast"
