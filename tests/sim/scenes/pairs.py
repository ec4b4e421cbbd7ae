"""Stories of two hosts of which one may go on alone: never beside the other, which may as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.lease.timing import DEFAULT, RELAXED, Timing
from clusterip.core.messages import echoes
from clusterip.core.messages.versions import Versions
from tests.sim.scene import Scene, see
from tests.sim.world import MS, SECOND

if TYPE_CHECKING:
    from clusterip.core.lease.node import NodeConfig
    from clusterip.core.messages.message import Message
    from clusterip.core.serving.coordinator import Coordinator
    from tests.sim.coordinators import Make
    from tests.sim.host import Host

OLD, BOTH, NEW = Versions(1, 1), Versions(1, 2), Versions(2, 2)
QUIET = DEFAULT.promise(DEFAULT.restart) + SECOND


class Versioned(Scene):
    """Hosts of several releases: of what they do not read they hear that it came."""

    def receive(self, host: Host, message: Message) -> None:
        peer = host.peer
        if peer is not None and not host.paused:
            own = peer.state.voice.spoken.own
            if not own.lowest <= message.version <= own.highest:
                head = message._replace(
                    heard=echoes.NONE, want=0, held=0, draining=0, grants=(), flows=()
                )
                peer.receive_unread(head, now=host.local(self.now))
                self.pump(host)
                return
        super().receive(host, message)


def speaking(make: Make, *speaks: Versions) -> Make:
    """Return what makes nodes that speak these versions, by their numbers from 1 on."""

    def of(
        config: NodeConfig, *, incarnation: int, mute: int, handover: bytes | None, now: int
    ) -> Coordinator[Message, Message]:
        config = config._replace(speaks=speaks[config.me - 1])
        return make(config, incarnation=incarnation, mute=mute, handover=handover, now=now)

    return of


def both(make: Make, timing: Timing = DEFAULT) -> Scene:
    """Return two hosts that share two buckets."""
    scene = Scene(make, 2, serving=(1, 2), total=2, timing=timing, alive=True)
    scene.until(lambda: (scene.serves(1), scene.serves(2)) == (1, 2), "both", within=20 * SECOND)
    scene.on(2 * timing.settle)
    return scene


def one_that_hears_nothing_restarts(make: Make) -> None:
    """Its daemon was started anew, so that it is not proven, and serves alone."""
    for lasting in (100 * MS, 1200 * MS, 4 * SECOND):
        scene = both(make)
        scene.weather.cut.add((1, 2))
        scene.crash(scene.hosts[2])
        scene.on(SECOND)
        scene.start(scene.hosts[2])
        scene.until(lambda s=scene: s.serves(2) == 0b11, "the deaf", within=QUIET)  # type: ignore[misc]
        scene.on(SECOND)
        scene.restart(2, lasting)
        scene.keeps(2, 0b11, 2 * SECOND)


def one_that_went_deaf_begins_a_restart(make: Make) -> None:
    """That it is excused for what it announced does not show that it hears."""
    for after in range(560, 700, 10):
        scene = both(make)
        scene.weather.cut.add((2, 1))
        scene.on(after * MS)
        scene.prepare_restart(1)
        scene.on(2 * SECOND)
        scene.start(scene.hosts[1])
        scene.on(6 * SECOND)
        see(scene.serves(1) == 0b11, "the deaf one serves")


def who_goes_on_beside_one_that_begins_stalls(make: Make) -> None:
    """That one went deaf just after it began, and goes on when it heard nothing for D."""
    for after in range(100, 500, 50):
        scene = both(make)
        scene.crash(scene.hosts[1])
        scene.on(400 * MS)
        scene.start(scene.hosts[1])
        scene.on(after * MS)
        scene.weather.cut.add((2, 1))
        scene.on(150 * MS)
        scene.pause(scene.hosts[2])
        scene.on(2 * SECOND)


def who_goes_on_beside_one_that_is_deaf_stalls(make: Make) -> None:
    """From its start on; with leases that are long beside the time for which it listens."""
    scene = both(make, RELAXED)
    scene.crash(scene.hosts[1])
    scene.weather.cut.add((2, 1))
    scene.on(4 * SECOND)
    scene.start(scene.hosts[1])
    scene.on(RELAXED.restart - 3 * RELAXED.interval)
    see(scene.serves(2) == 0b11, "the other goes on")
    scene.pause(scene.hosts[2])
    scene.on(4 * SECOND)
    see(scene.serves(1) == 0b11, "the deaf one serves")


def two_that_do_not_read_one_another(make: Make) -> None:
    """Each is heard, and not silent: neither knows whether it is heard."""
    scene = Versioned(speaking(make, OLD, NEW), 2, serving=(1, 2), alive=True)
    scene.on(3 * QUIET)
    see(scene.serves(1) | scene.serves(2) == 0, "neither serves")


def one_is_replaced_by_one_that_cannot_be_read(make: Make) -> None:
    """What it was handed over goes on for its grace, and no longer."""
    scene = Versioned(make, 2, serving=(1, 2), total=2, alive=True)
    scene.on(4 * SECOND)
    scene.hand_over(2)
    scene.make = speaking(make, OLD, NEW)
    scene.start(scene.hosts[2])
    scene.on(2 * QUIET)
    see(scene.serves(1) | scene.serves(2) == 0, "neither serves")


def those_who_have_one_in_common_begin(make: Make) -> None:
    """The first speaks the older one too, which the others do not read: they echo it, unread."""
    for hosts in (2, 3):
        made = speaking(make, BOTH, NEW, NEW)
        everybody = tuple(range(1, hosts + 1))
        scene = Versioned(made, hosts, serving=everybody, total=hosts, alive=hosts == 2)
        scene.on(QUIET)
        see(all(scene.serves(name) for name in everybody), "all serve")


def recordings_of_what_one_was_are_sent_again(make: Make) -> None:
    """Before it was put back, or upgraded; those with whom it has one in common are told that."""
    for was, now in ((NEW, OLD), (OLD, NEW)):
        scene = Versioned(speaking(make, BOTH, was), 2, serving=(1, 2), total=2, alive=True)
        said: list[Message] = []
        scene.when_sent = lambda host, message, to=said: to.append(message)
        scene.on(QUIET)
        scene.when_sent = None
        recorded = [message for message in said if message.sender == 2][-1]
        scene.make = speaking(make, BOTH, now)
        for name in (1, 2):
            scene.crash(scene.hosts[name])
            scene.start(scene.hosts[name])
        end = scene.now + 2 * QUIET
        while scene.now < end:
            scene.deliver(scene.hosts[1], recorded, prompt=False)
            scene.on(20 * MS)
        see(bool(scene.serves(1) and scene.serves(2)), "both serve")


def recordings_of_one_that_was_older_are_sent(make: Make) -> None:
    """The first serves with the second, which does not read what the third read once."""
    scene = Versioned(speaking(make, BOTH, BOTH, OLD), 3, serving=(1, 2), absent=(2,), total=2)
    said: list[Message] = []
    scene.when_sent = lambda _, message: said.append(message)
    scene.on(QUIET)
    scene.when_sent = None
    scene.crash(scene.hosts[3])
    scene.make = speaking(make, BOTH, NEW, OLD)
    scene.crash(scene.hosts[1])
    scene.start(scene.hosts[1])
    scene.start(scene.hosts[2])
    recorded = [message for message in said if message.sender == 3][-1]
    end = scene.now + 2 * QUIET
    while scene.now < end:
        scene.deliver(scene.hosts[1], recorded, prompt=False)
        scene.on(20 * MS)
    see((scene.serves(1) | scene.serves(2)) == 0b11, "both serve")
