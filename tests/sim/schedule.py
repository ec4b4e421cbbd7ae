"""From a seed to the story of a cluster: what befalls it, and that it heals.

One seed is one story: `run(seed)` raises TwoOwnersError or NotHealedError, or returns how many
steps it took. `Story` draws from everything that can happen; its subclasses tell one kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from clusterip.core.lease.timing import DEFAULT, FAST, Timing
from clusterip.core.messages.message import Message
from tests.sim.coordinators import PEERS, Make
from tests.sim.healing import NotHealedError, fault
from tests.sim.host import Host
from tests.sim.world import MS, SECOND, World


class Story:
    """A cluster, a time of troubles, and the peace after it."""

    troubles = 5 * SECOND
    pace = 350 * MS

    def __init__(
        self,
        seed: int,
        make: Make = PEERS,
        codec: Callable[[Message], Message] | None = None,
        *,
        log: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.seed = seed
        timing = self.timing()
        if timing.interval < DEFAULT.interval:
            # All is over sooner, and a second costs more.
            self.troubles = self.troubles * 3 // 5
            self.pace = self.pace * 3 // 5
        count, witnesses, alive = self.size()
        self.world = World(
            self.random,
            timing,
            self.random.choice((3, 4, 6, 8, 12)),
            alive=alive,
            make=make,
            codec=codec,
        )
        if log:
            self.world.log = []
        self.next_name = 1
        self.target = frozenset(range(1, count + 1))
        for _ in range(count):
            self.add()
        for name in range(1, witnesses + 1):
            self.world.hosts[name].witness = True
        self.behind: set[int] = set()
        # Who does not wait until every node has a change may have to start hosts anew.
        self.careful = self.random.random() < 0.8
        self.acts = self.repertoire()

    def timing(self) -> Timing:
        return self.random.choice(
            (DEFAULT, DEFAULT, FAST._replace(restart=2 * SECOND, settle=400 * MS))
        )

    def size(self) -> tuple[int, int, bool]:
        """Return the number of hosts, how many are witnesses, and whether two go on alone."""
        count = self.random.choice((2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 7, 8))
        if count == 2:
            return 2, 0, self.random.random() < 0.8
        return count, int(self.random.random() < 0.3), False

    def repertoire(self) -> list[Callable[[], None]]:
        """Return what may happen; each seed favours some of it."""
        acts = [
            self.change_weather, self.change_weather, self.cut, self.split, self.clear,
            self.pause, self.freeze, self.crash, self.reboot, self.restart, self.restart,
            self.drain, self.reweigh, self.health, self.unplug, self.leave, self.mistake,
            self.replay,
        ]  # fmt: skip
        if not self.world.alive:
            acts += [self.add_voter, self.remove_voter]
        return self.random.sample(acts, self.random.randint(3, 8))

    # ---- the story ----

    def run(self) -> int:
        world = self.world
        spread = self.random.choice((10 * MS, 1 * SECOND))
        for host in list(world.hosts.values()):
            world.at(self.random.randrange(spread), world.start, host)
        world.at(self.random.randrange(self.troubles // 2), self.happen)
        world.run(self.begin() + self.troubles)
        self.acts = []
        self.heal()
        self.watch()
        return world.handled

    def begin(self) -> int:
        return 0

    def happen(self) -> None:
        if self.acts:
            self.random.choice(self.acts)()
            self.world.at(self.world.now + self.random.randrange(2 * self.pace), self.happen)

    def heal(self) -> None:
        world = self.world
        world.say("heal")
        self.clear()
        world.stumble = 0.0
        for host in list(world.hosts.values()):
            if host.removed:
                continue
            host.link = True
            world.tell(host, lambda node, now: node.set_link(True, now=now))
            world.thaw(host)
            world.resume(host)
            if host.config != 1 and (world.alive or self.random.random() < 0.7):
                self.reconfigure(host, 1)
        wrong = [h for h in world.hosts.values() if h.config != 1 and not h.removed]
        right = [h for h in world.hosts.values() if h.config == 1 and not h.removed]
        serving = [h for h in right if not h.witness and h.weight]
        if len(right) <= len(self.target) // 2 or not serving or self.behind:
            for host in wrong:
                self.reconfigure(host, 1)
        for host in list(world.hosts.values()):
            if not host.removed:
                world.start(host)
        world.at(world.now + world.timing.promise(world.timing.restart), self.cure)

    def healing_time(self) -> int:
        """Return within what time of the end of all troubles everything must be well, ns.

        A planned restart may just have begun (its grace must pass), a rebooted host is mute
        for as long, the voter sets may have to settle first, and then come a few rounds.
        """
        world = self.world
        moves = 4 * world.watch
        return world.timing.promise(world.timing.restart) + 6 * world.promise + moves + 2 * SECOND

    def watch(self) -> None:
        """Wait until all is well, and see that it stays so."""
        world = self.world
        end = world.now + self.healing_time()
        # A lease, a promise and a newcomer's patience: who is well for that long stays well.
        enough = (world.promise + world.timing.settle) // (2 * world.timing.interval)
        well = 0
        while well < enough:
            world.run(world.now + 2 * world.timing.interval)
            for host in world.hosts.values():
                if host.handover is None:
                    world.start(host)
            wrong = fault(world) or self.behind
            well = 0 if wrong else well + 1
            if wrong and world.now > end:
                raise NotHealedError(f"after {self.healing_time() / SECOND:.1f} s {wrong}")

    # ---- what may happen ----

    def host(self) -> Host:
        return self.random.choice([h for h in self.world.hosts.values() if not h.removed])

    def later(self, most: int, step: Callable[..., None], *arguments: object) -> None:
        self.world.at(self.world.now + self.random.randrange(1, most), step, *arguments)

    def change_weather(self) -> None:
        weather, random = self.world.weather, self.random
        weather.loss = random.choice((0.0, 0.05, 0.2, 0.4))
        weather.late = random.choice((0.0, 0.02, 0.1, 0.5))
        weather.twice = random.choice((0.0, 0.1))
        weather.latest = random.choice((300 * MS, 1500 * MS))
        self.world.stumble = random.choice((0.0, 0.0, 0.01))

    def clear(self) -> None:
        weather = self.world.weather
        weather.loss = weather.late = weather.twice = 0.0
        weather.cut.clear()
        weather.lag.clear()

    def cut(self) -> None:
        """Cut some ways, one direction each, for a while."""
        names = list(self.world.hosts)
        pairs = {
            (one, other)
            for one in names
            for other in names
            if one != other and self.random.random() < 0.3
        }
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)

    def split(self) -> None:
        names = list(self.world.hosts)
        side = set(self.random.sample(names, self.random.randint(1, len(names) - 1)))
        pairs = {(a, b) for a in names for b in names if (a in side) != (b in side)}
        self.world.weather.cut |= pairs
        self.later(2500 * MS, self.world.weather.cut.difference_update, pairs)

    def pause(self) -> None:
        host = self.host()
        self.world.pause(host)
        self.later(3 * self.world.promise, self.world.resume, host)

    def freeze(self) -> None:
        """Pause a virtual machine: mostly so shortly that its lease is good for a while yet."""
        host = self.host()
        self.world.freeze(host)
        lasting = self.random.choice((self.world.timing.lease // 2, 3 * self.world.promise))
        self.later(lasting, self.world.thaw, host)

    def crash(self) -> None:
        host = self.host()
        if host.node is not None:
            self.world.crash(host)
            self.later(1500 * MS, self.world.start, host)

    def reboot(self) -> None:
        host = self.host()
        if host.node is not None:
            self.world.reboot(host)
            self.later(1500 * MS, self.world.start, host)

    def restart(self) -> None:
        host = self.host()
        if host.node is None or host.paused or host.restarting:
            return
        self.world.say(f"restart {host.id}")
        self.world.tell(host, lambda node, now: node.prepare_restart(now=now))
        host.restarting = host.node is not None

    def drain(self) -> None:
        host = self.host()
        if host.node is None or host.paused or host.restarting:
            return
        host.leaving = not host.leaving
        if host.leaving:
            self.world.tell(host, lambda node, now: node.drain(now=now))
        else:
            self.world.tell(host, lambda node, now: node.undrain(now=now))

    def reweigh(self) -> None:
        host = self.host()
        if host.node is None or host.witness or host.paused or host.restarting:
            return
        host.weight = self.random.choice((1, 1, 2, 3, 10))
        self.world.tell(host, lambda node, now: node.set_weight(host.weight, now=now))

    def health(self) -> None:
        host = self.host()
        if host.paused or host.restarting:
            return
        host.healthy = not host.healthy
        self.world.tell(host, lambda node, now: node.set_health(host.healthy, now=now))

    def unplug(self) -> None:
        host = self.host()
        if host.paused or host.restarting or not host.link:
            return
        self.world.say(f"unplug {host.id}")
        host.link = False
        self.world.tell(host, lambda node, now: node.set_link(False, now=now))
        self.later(2 * SECOND, self.plug, host)

    def plug(self, host: Host) -> None:
        host.link = True
        self.world.tell(host, lambda node, now: node.set_link(True, now=now))

    def leave(self) -> None:
        """Stop the daemon as SIGTERM does: release all, say so, go."""
        host = self.host()
        if host.node is None or host.paused or host.restarting:
            return
        self.world.tell(host, lambda node, now: node.leave(now=now))
        self.world.crash(host)
        self.later(2 * SECOND, self.world.start, host)

    def mistake(self) -> None:
        """Start a host with other hash parameters, or mend it."""
        host = self.host()
        if host.node is not None:
            self.reconfigure(host, 3 - host.config)

    def replay(self) -> None:
        """Send again what was said before, in any order, to all."""
        world = self.world
        if world.recorded is None:
            world.recorded = deque(maxlen=400)
        old = list(world.recorded)
        for message in self.random.sample(old, min(len(old), 30)):
            for host in world.hosts.values():
                if host.id != message.sender:
                    self.later(200 * MS, world.deliver, host, message, False)

    def reconfigure(self, host: Host, config: int) -> None:
        self.world.crash(host)
        # The kernel is cleared before other hash parameters are put in place.
        host.open = host.taking = host.draining = 0
        host.handover = None
        host.config = config
        self.world.start(host)

    # ---- voters, host by host ----

    def add(self) -> Host:
        name = self.next_name
        self.next_name += 1
        return self.world.add(self.target, name)

    def add_voter(self) -> None:
        if self.unready() or len(self.target) >= 6:
            return
        self.target |= {self.next_name}
        host = self.add()
        self.world.say(f"add voter {host.id}")
        self.later(SECOND, self.world.start, host)
        self.roll_out(host.id)

    def remove_voter(self) -> None:
        if self.unready() or len(self.target) <= 3:
            return
        host = self.host()
        if host.id not in self.target:
            return
        self.world.say(f"remove voter {host.id}")
        self.target -= {host.id}
        if self.random.random() < 0.5:
            self.world.crash(host)
        self.later(2 * SECOND, self.retire, host)
        self.roll_out(host.id)

    def retire(self, host: Host) -> None:
        self.world.crash(host)
        host.removed = True

    def unready(self) -> bool:
        hosts = self.world.hosts
        return bool(self.behind) and (
            self.careful or any(hosts[name].voters != self.target for name in self.behind)
        )

    def cure(self) -> None:
        if not self.careful:
            for name in list(self.behind):
                host = self.world.hosts[name]
                self.reconfigure(host, host.config)

    def roll_out(self, changed: int) -> None:
        self.behind = set(self.target) - {changed}
        for name in self.behind:
            self.later(SECOND, self.change_file, name)

    def change_file(self, name: int) -> None:
        host = self.world.hosts[name]
        if host.removed or self.world.set_voters(host, self.target):
            self.behind.discard(name)
        else:
            self.later(300 * MS, self.change_file, name)


def run(
    seed: int,
    story: type[Story] = Story,
    make: Make = PEERS,
    codec: Callable[[Message], Message] | None = None,
) -> int:
    """Tell the story of `seed`; return how many steps it took."""
    return story(seed, make, codec).run()


def replay_command(seed: int, story: type[Story] = Story) -> str:
    """Return the command that tells one story again, with all that happened in it."""
    kind = "" if story is Story else f" --story {story.__name__}"
    return f"PYTHONPATH=src python -m tests.sim{kind} --seed {seed}"


def tell(seeds: range, story: type[Story] = Story) -> None:
    """Tell the stories of all seeds; the failure of one says how to tell it again."""
    for seed in seeds:
        try:
            run(seed, story)
        except AssertionError as error:
            error.add_note(f"seed {seed}, replay: {replay_command(seed, story)}")
            raise
