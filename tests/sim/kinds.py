"""Kinds of random stories, each for the deliberate bugs that it finds soonest.

Only what happens, and how often, is chosen so that the rule in question is put to the test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from clusterip.core.lease.timing import DEFAULT, Timing
from tests.sim.host import Decider, Host
from tests.sim.mutants import knowing, promises, restarting
from tests.sim.mutants.kind import Mutant
from tests.sim.schedule import Story
from tests.sim.world import MS, SECOND

_COPIES = 100
"""What is added to the number of a host for that of its copy."""


class Majority(Story):
    """Three to five voters, default timing, one trouble after the other."""

    pace = 120 * MS
    troubles = 5 * SECOND

    def timing(self) -> Timing:
        return DEFAULT

    def size(self) -> tuple[int, int, bool]:
        return self.random.choice((3, 3, 4, 5)), 0, False


class Slow(Majority):
    """Messages and acknowledgements come late, and hosts are cut off."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.gale, self.gag, self.gag, self.clear]

    def gale(self) -> None:
        self.world.weather.late = 0.8
        self.world.weather.latest = 1500 * MS

    def gag(self) -> None:
        """Let one host hear all and be heard by none."""
        gagged = self.host().id
        pairs = {(gagged, name) for name in self.world.hosts}
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)


class Fickle(Majority):
    """Buckets are given back and asked for again by a host that hears all of it late."""

    pace = 60 * MS

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.slow_down, self.drain, self.drain, self.drain, self.reweigh]

    def slow_down(self) -> None:
        lag = self.random.randrange(100 * MS, 400 * MS)
        self.world.weather.lag = {self.host().id: lag}


class Estranged(Majority):
    """Two of three do not hear each other, and the third forgets."""

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def estrange(self) -> None:
        """Cut two hosts from one another for a while; soon after, something befalls the third."""
        one, other, third = self.random.sample(sorted(self.world.hosts), 3)
        pairs = {(one, other), (other, one)}
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)
        self.later(1500 * MS, self.befall, self.world.hosts[third])

    def befall(self, host: Host) -> None:
        raise NotImplementedError


class Crashing(Estranged):
    """The third dies and comes back at once."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.estrange, self.reweigh]

    def befall(self, host: Host) -> None:
        if host.node is not None:
            self.world.crash(host)
            self.later(60 * MS, self.world.start, host)


class Restarting(Estranged):
    """The third is restarted as planned, and so are others."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.estrange, self.estrange, self.restart, self.split]

    def befall(self, host: Host) -> None:
        self.world.tell(host, lambda node, now: node.prepare_restart(now=now))
        host.restarting = host.node is not None


class Replaying(Majority):
    """Daemons come and go, and an eavesdropper repeats what they said."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.replay, self.replay, self.die, self.reweigh, self.health]

    def run(self) -> int:
        self.world.recorded = deque(maxlen=400)
        return super().run()

    def die(self) -> None:
        host = self.host()
        if host.node is not None:
            self.world.crash(host)
            self.later(60 * MS, self.world.start, host)


class Leaping(Majority):
    """The file grows by two voters at once, host by host."""

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.leap, self.leap, self.split, self.clear]

    def leap(self) -> None:
        further = frozenset(range(1, 6))
        for name in (4, 5):
            if name not in self.world.hosts:
                self.world.start(self.world.add(further, name))
        host = self.host()
        if host.node is not None:
            self.world.set_voters(host, further)

    def heal(self) -> None:
        """Take the change back."""
        for host in self.world.hosts.values():
            host.voters = self.target
            host.removed = host.id not in self.target
            if host.removed:
                self.world.crash(host)
            elif host.peer is None or host.peer.state.votes.voters.voters != self.target:
                self.reconfigure(host, 1)
        super().heal()


class Reconfiguring(Majority):
    """Hosts are started with other hash parameters, one after the other."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.mistake, self.mistake, self.split, self.clear]


class Deaf(Majority):
    """Buckets move, and one host no longer hears another, which the others do."""

    pace = 150 * MS

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.drain, self.reweigh, self.deafen, self.deafen]

    def deafen(self) -> None:
        one, other = self.random.sample(sorted(self.world.hosts), 2)
        self.world.weather.cut.add((one, other))
        self.later(2500 * MS, self.world.weather.cut.discard, (one, other))


class Changing(Deaf):
    """Hosts are added and removed, while buckets go from hand to hand, and one lags behind."""

    pace = 100 * MS

    def timing(self) -> Timing:
        return DEFAULT._replace(settle=100 * MS, restart=2 * SECOND)

    def size(self) -> tuple[int, int, bool]:
        return self.random.choice((3, 4)), 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        rest = [self.restart, self.crash, self.leave, self.drain, self.deafen]
        return [self.add_voter, self.remove_voter, *[self.swap] * 6, self.random.choice(rest)]

    def swap(self) -> None:
        """Let one host have all of another."""
        hosts = [one for one in self.world.hosts.values() if not (one.paused or one.restarting)]
        if len(hosts) < 2:
            return
        one, other = self.random.sample(hosts, 2)
        one.weight, other.weight = 1, 50
        for host in (one, other):
            self.world.tell(host, self.note_weight)

    def note_weight(self, node: Decider, now: int) -> None:
        node.set_weight(self.world.hosts[node.me].weight, now=now)

    def roll_out(self, changed: int) -> None:
        self.world.start(self.world.hosts[changed])
        self.behind = set(self.target) - {changed}
        last = self.random.choice(sorted(self.behind))
        for name in self.behind:
            if name == last:
                self.world.at(self.world.now + 3 * SECOND, self.change_file, name)
            else:
                self.later(200 * MS, self.change_file, name)

    def retire(self, host: Host) -> None:
        """Let one that was removed go on for a while."""
        self.later(2 * SECOND, super().retire, host)


class Lossy(Majority):
    """Buckets move, and messages are lost: of five, three may grant what the taker missed."""

    def size(self) -> tuple[int, int, bool]:
        return 5, 0, False

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.drain, self.drain, self.reweigh, self.storm]

    def storm(self) -> None:
        self.world.weather.loss = self.random.choice((0.2, 0.4))


class Frozen(Majority):
    """Machines are paused and go on, at times when their leases end at different moments."""

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.freeze, self.freeze, self.drain, self.reweigh, self.storm]

    def storm(self) -> None:
        self.world.weather.loss = self.random.choice((0.0, 0.3))


class Copied(Majority):
    """Hosts run twice, for their files were copied; and all hear all."""

    def size(self) -> tuple[int, int, bool]:
        return 3, 0, False

    def begin(self) -> int:
        for name in self.random.sample(sorted(self.target), self.random.choice((1, 2, 3))):
            offset = self.random.randrange(1, 10**6) * MS
            copy = Host(name, self.random.randint(-1000, 1000), offset, self.target)
            copy.rebooted = True
            self.world.hosts[_COPIES + name] = copy
            self.later(self.troubles, self.world.start, copy)
        return 2 * SECOND

    def repertoire(self) -> list[Callable[[], None]]:
        return [self.restart, self.restart, self.crash, self.leave, self.drain, self.reweigh]

    def heal(self) -> None:
        """Stop the copies, and start anew whose place they may have taken."""
        for name, host in list(self.world.hosts.items()):
            if name > _COPIES:
                self.retire(host)
            else:
                self.reconfigure(host, 1)
        super().heal()


MUTANTS: list[tuple[Mutant, type[Story]]] = [
    (promises.FROM_REPLY, Slow),
    (promises.SHORT_PROMISE, Slow),
    (promises.LATE_GRANT, Fickle),
    (promises.GIVES_EARLY, Majority),
    (promises.NEVER_MUTE, Crashing),
    (promises.IGNORES_GRACE, Restarting),
    (restarting.FORGETS_GRANTS, Restarting),
    (promises.ANY_SET, Leaping),
    (knowing.ANY_CONFIG, Reconfiguring),
    (knowing.OLD_INCARNATIONS, Replaying),
    (knowing.LONE_LISTENER, Deaf),
    (knowing.TAKES_UNTOLD, Lossy),
    (knowing.TAKES_ALL, Fickle),
    (knowing.NEVER_STOOD_STILL, Frozen),
    (knowing.KERNEL_UNTOLD, Frozen),
    (knowing.BELIEVES_OLDEST, Frozen),
    (knowing.BELIEVES_THE_REST, Frozen),
    (knowing.NOTHING_TOLD, Deaf),
    (knowing.KNOWS_NO_STRANGER, Changing),
    (knowing.TELLS_OF_ANYBODY, Reconfiguring),
    (knowing.KNOWS_ALL_AGAIN, Restarting),
    (knowing.HEEDS_NO_NAMESAKE, Copied),
]
