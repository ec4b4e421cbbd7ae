"""Stories of planned restarts: what a successor must know of what its predecessor knew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.lease.timing import DEFAULT
from tests.sim.scene import Scene, see
from tests.sim.scenes.moving import settled as settled_by_default
from tests.sim.world import MS, SECOND

if TYPE_CHECKING:
    from clusterip.core.messages.message import Message
    from tests.sim.coordinators import Make

TIMING = DEFAULT._replace(restart=1500 * MS)


def settled(make: Make, *, watch: int = 0) -> Scene:
    """Return three hosts: the first serves, the second could, the third is a witness."""
    scene = Scene(make, 3, serving=(1, 2), absent=(2,), timing=TIMING, watch=watch)
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    see(scene.serves(1) == 0b1, "the first serves")
    return scene


def pair(make: Make, *, total: int = 1) -> Scene:
    """Return two hosts of which one may go on alone, and the second does not run yet."""
    return Scene(
        make, 2, serving=(1, 2), absent=(2,), total=total, alive=True, timing=TIMING
    )  # fmt: skip


def the_owner(make: Make) -> None:
    scene = settled(make)
    scene.restart(1)
    scene.keeps(1, 0b1, 3 * SECOND)


def with_another_file(make: Make) -> None:
    """The file lists two voters more: the change is refused, and all goes on with the old set."""
    scene = settled(make)
    scene.hand_over(1)
    scene.hosts[1].voters = frozenset(range(1, 6))
    scene.start(scene.hosts[1])
    scene.keeps(1, 0b1, 3 * SECOND)


def the_first_with_a_new_voter(make: Make) -> None:
    scene = settled(make)
    scene.set_voters(scene.hosts[1], frozenset(range(1, 5)))
    scene.on(200 * MS)
    scene.restart(1)
    scene.keeps(1, 0b1, 3 * SECOND)


def who_drains(make: Make) -> None:
    scene = settled(make)
    scene.give(1, 2)
    scene.restart(1)
    scene.keeps(1, 0, 3 * SECOND, drains=0b1)


def who_keeps_flows(make: Make) -> None:
    scene = settled(make, watch=TIMING.interval)
    scene.give(1, 2)
    see(scene.hosts[1].flow_slots[1] != 0, "some flows stay")
    scene.restart(1)
    scene.keeps(1, 0, SECOND, drains=0b1)


def who_drained_for_good(make: Make) -> None:
    scene = Scene(make, 3, serving=(1, 2), total=2, timing=TIMING)
    scene.on(3 * SECOND)
    scene.drain(1)
    scene.serving(2, 0b11)
    scene.tell(scene.hosts[1], lambda node, now: node.drained([1, 2], now=now))
    scene.on(300 * MS)
    scene.restart(1)
    scene.keeps(2, 0b11, 3 * SECOND)


def who_takes(make: Make) -> None:
    """Meanwhile the giver wants it back."""
    scene = settled(make)
    scene.give(1, 2)
    scene.hand_over(2)
    scene.undrain(1)
    scene.on(50 * MS)
    scene.start(scene.hosts[2])
    scene.on(SECOND)
    see(scene.serves(1) | scene.serves(2) == 0b1, "one of them serves")


def the_voter_of_two_that_are_parted(make: Make) -> None:
    """For a while it hears the one that has nothing only."""
    scene = settled(make)
    scene.part((1, 2))
    scene.on(SECOND)
    scene.hand_over(3)
    scene.part((1, 3))
    scene.start(scene.hosts[3])
    scene.on(800 * MS)
    scene.meet((1, 3))
    scene.keeps(1, 0b1, 3 * SECOND)


def the_voter_hears_what_was_said_before(make: Make) -> None:
    """Somebody sends again what the first said before it had the bucket."""
    scene = Scene(make, 3, serving=(1, 2), absent=(2,), timing=TIMING)
    said: list[Message] = []
    scene.when_sent = lambda host, message: said.append(message) if host.id == 1 else None
    scene.part((1, 2))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    scene.hand_over(3)
    scene.part((1, 3))
    scene.start(scene.hosts[3])
    scene.deliver(scene.hosts[3], next(m for m in said if not m.want), prompt=False)
    scene.on(800 * MS)
    scene.meet((1, 3))
    scene.keeps(1, 0b1, 3 * SECOND)


def a_voter_that_may_not_vote_yet(make: Make) -> None:
    """It lost what it promised to the first, which is in a restart, and restarts itself."""
    scene = Scene(make, 3, serving=(1, 2), absent=(2,), timing=TIMING)
    scene.part((1, 2))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(SECOND)
    scene.hand_over(1)
    scene.crash(scene.hosts[3])
    scene.start(scene.hosts[3])
    scene.on(300 * MS)
    scene.restart(3, 50 * MS)
    scene.on(700 * MS)
    see(scene.serves(1) == 0b1, "the kernel of the first goes on")


def who_took_after_the_giver(make: Make) -> None:
    scene = settled_by_default(make, 5)
    scene.give(1, 2)
    scene.hand_over(1)
    scene.restart(2)
    scene.on(2 * SECOND)
    scene.start(scene.hosts[1])
    scene.on(SECOND)
    see(scene.drains(1) == 0b1, "the first drains")


def who_drains_and_the_other_at_once(make: Make) -> None:
    """The other could not say any more that it had heard of the first one's grace."""
    scene = Scene(make, 2, serving=(1, 2), absent=(2,), alive=True)
    scene.on(7 * SECOND)
    scene.start(scene.hosts[2])
    scene.on(4 * SECOND)
    scene.give(1, 2)
    scene.prepare_restart(1)
    scene.on(50 * MS)
    scene.prepare_restart(2)
    scene.until(lambda: not (scene.hosts[1].node or scene.hosts[2].node), "both hand over")
    scene.on(2 * SECOND)
    scene.start(scene.hosts[1])
    scene.on(SECOND)
    see(scene.drains(1) == 0b1, "the first drains")


def who_serves_alone_beside_one_that_may_not_vote(make: Make) -> None:
    scene = Scene(make, 2, serving=(1, 2), absent=(2,), alive=True)
    scene.on(7 * SECOND)
    scene.hosts[2].rebooted = True
    scene.start(scene.hosts[2])
    scene.on(SECOND)
    scene.restart(1, 300 * MS)
    scene.keeps(1, 0b1, 2 * SECOND)


def who_took_while_the_giver_is_cut_off(make: Make) -> None:
    """To the giver its word counts for all of the grace."""
    scene = settled(make)
    scene.give(1, 2)
    scene.hand_over(2)
    scene.on(200 * MS)
    scene.part((1, 2), (1, 3))
    scene.start(scene.hosts[2])
    scene.on(SECOND)
    see(scene.hosts[2].taking == scene.drains(1) == 0b1, "the second leaves it the rest")


def the_survivor_of_two(make: Make) -> None:
    scene = pair(make)
    scene.start(scene.hosts[2])
    scene.on(4 * SECOND)
    scene.crash(scene.hosts[2])
    scene.on(2 * SECOND)
    see(scene.serves(1) == 0b1, "the first serves alone")
    scene.restart(1)
    scene.keeps(1, 0b1, SECOND)


def after_the_other_of_two_stopped(make: Make) -> None:
    """It had asked to be borne for a restart of its own before."""
    scene = pair(make)
    scene.start(scene.hosts[2])
    scene.on(4 * SECOND)
    scene.restart(2)
    scene.on(200 * MS)
    scene.tell(scene.hosts[2], lambda node, now: node.leave(now=now))
    scene.on(10 * MS)
    scene.crash(scene.hosts[2])
    scene.restart(1, 20 * MS)
    scene.keeps(1, 0b1, 4 * SECOND)


def the_other_of_two_dies_meanwhile(make: Make) -> None:
    """Somebody sends again what it said."""
    scene = pair(make, total=2)
    scene.start(scene.hosts[2])
    said: list[Message] = []
    scene.when_sent = lambda host, message: said.append(message) if host.id == 2 else None
    scene.on(4 * SECOND)
    see(scene.serves(1) | scene.serves(2) == 0b11, "both serve")
    scene.hand_over(1)
    scene.crash(scene.hosts[2])
    scene.on(1200 * MS)
    scene.start(scene.hosts[1])
    for message in said[-5:]:
        scene.deliver(scene.hosts[1], message, prompt=False)
        scene.on(100 * MS)
    scene.until(lambda: scene.serves(1) == 0b11, "the first serves alone", within=200 * MS)


def the_other_of_two_comes_back_with_another_configuration(make: Make) -> None:
    """It is killed meanwhile: what its votes gave ends, and who served before goes on."""
    scene = pair(make, total=2)
    scene.start(scene.hosts[2])
    scene.on(4 * SECOND)
    see(scene.serves(1) | scene.serves(2) == 0b11, "both serve")
    scene.hand_over(1)
    scene.crash(scene.hosts[2])
    scene.hosts[2].config = 2
    scene.start(scene.hosts[2])
    scene.on(SECOND)
    scene.start(scene.hosts[1])
    scene.on(8 * SECOND)
    see(scene.serves(1) == 0b11, "who served before serves alone")


def who_asks_and_may_have_it_from_one_voter(make: Make) -> None:
    """The second asks for what the first has; its successor does not, at first.

    Of five the third promises it the bucket, hears that it is released, and promises it to the
    first; the fourth frees it when it has heard nothing of the first for long enough.
    """
    scene = Scene(make, 5, serving=(1, 2), absent=(2,), timing=TIMING)
    second, cut = scene.hosts[2], scene.weather.cut
    scene.part((1, 3))
    scene.serving(1, 0b1)
    scene.part((1, 2))
    scene.start(second)
    node = second.peer
    scene.until(
        lambda: node is not None and node.state.votes.holder.proofs.get(3, (0, 0))[1] == 0b1,
        "the third promises it to the second",
    )
    scene.on(20 * MS)
    late = {(4, 2), (5, 2)}
    cut |= late
    scene.prepare_restart(2)
    scene.on(150 * MS)
    cut -= late
    scene.until(lambda: second.node is None, "the second hands over")
    scene.part((1, 4))
    scene.meet((1, 3))
    cut.add((3, 2))
    scene.on(400 * MS)
    scene.start(second)
    scene.on(1200 * MS)
    see(scene.serves(1) == 0b1, "the first has it still")


def then_its_machine_stands_still(make: Make) -> None:
    """When it goes on it first hears of the second, whose clock is behind its own."""
    scene = Scene(make, 3, serving=(1, 2), absent=(1, 2, 3), timing=TIMING)
    first = scene.hosts[1]
    for host in scene.hosts.values():
        host.offset = 500 * SECOND if host is first else 100 * SECOND
    scene.start(first)
    scene.start(scene.hosts[3])
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    scene.restart(1)
    scene.weather.cut |= {(2, 1), (3, 1)}
    scene.freeze(first)
    scene.serving(2, 0b1)
    scene.on(SECOND)
    scene.weather.cut.discard((2, 1))
    scene.thaw(first)
    scene.on(500 * MS)
    see(scene.serves(2) == 0b1, "the second has it")


def while_messages_are_late(make: Make) -> None:
    """They are from just before a window of the leads ends until just after the restart."""
    scene = settled(make)
    first = scene.hosts[1]

    def began() -> int:
        return first.peer.state.hearing.standstill.leads[3].since if first.peer else 0

    window = began()
    scene.until(lambda: began() != window, "a window ends")
    window = began()
    scene.on(680 * MS)
    scene.weather.lag[1] = 300 * MS
    scene.until(lambda: began() != window, "the next one ends")
    alarms = first.alarms
    scene.hand_over(1)
    scene.start(first)
    scene.on(150 * MS)
    scene.weather.lag.clear()
    scene.on(150 * MS)
    see(first.alarms == alarms, "nobody thinks that the first stood still")
