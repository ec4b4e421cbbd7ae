"""Stories of buckets that move while some hosts have the next set of voters, and some the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.scene import D, Scene, see
from tests.sim.scenes.moving import taken
from tests.sim.world import MS, SECOND

if TYPE_CHECKING:
    from tests.sim.coordinators import Make

REST = frozenset({2, 3, 4})


def joined(make: Make) -> Scene:
    """Return three hosts, and a fourth that is in the files of all but the first.

    The third is a witness, and the first serves.
    """
    scene = Scene(make, 3, serving=(1, 2), absent=(2,))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    four = frozenset({1, 2, 3, 4})
    for name in (2, 3):
        scene.set_voters(scene.hosts[name], four)
    scene.start(scene.add(four, 4, ppm=0))
    scene.on(3 * SECOND)
    see(scene.serves(1) == 0b1, "the first serves on")
    return scene


def ends(scene: Scene, name: int) -> None:
    """Let no connection be left of what that host drains."""
    scene.tell(scene.hosts[name], lambda node, now: node.drained([1], now=now))


def leaves_alone(scene: Scene, giver: int, taker: int) -> None:
    """See that the giver drains, and the taker leaves it its flows."""
    see(scene.drains(giver) == scene.hosts[taker].taking == 0b1, f"{taker} leaves them to {giver}")


def who_drains_has_just_been_added(make: Make) -> None:
    """The first takes a bucket that the fourth drains, of which its file does not know."""
    scene = joined(make)
    scene.drain(1)
    scene.serving(2, 0b1)
    ends(scene, 1)
    scene.give(2, 4)
    ends(scene, 2)
    scene.undrain(2)
    scene.give(4, 2)
    scene.undrain(1)
    scene.drain(2)
    scene.serving(1, 0b1)
    ends(scene, 2)
    scene.on(2 * D)
    leaves_alone(scene, 4, 1)
    ends(scene, 4)
    scene.until(lambda: not scene.hosts[1].taking, "the first has all of it")


def who_took_has_just_been_added(make: Make) -> None:
    """The fourth hears nothing of the restart of the first, who does not listen to it."""
    scene = joined(make)
    scene.give(1, 2)
    scene.drain(2)
    scene.serving(4, 0b1)
    ends(scene, 2)
    scene.on(300 * MS)
    scene.weather.cut.add((1, 4))
    scene.prepare_restart(1)
    scene.on(2 * SECOND)
    leaves_alone(scene, 1, 4)


def removed(make: Make) -> Scene:
    """Return four hosts. The first drains, and is in no other's file any more.

    The third and the fourth, witnesses, do not hear one another, so they do not forget it.
    """
    scene = Scene(make, 4, serving=(1, 2), absent=(2,))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    scene.give(1, 2)
    scene.part((3, 4))
    for name in (3, 4):
        scene.set_voters(scene.hosts[name], REST)
    return scene


def leaves_alone_until_forgotten(scene: Scene) -> None:
    """See that the second leaves the first its flows until the others forget that one."""
    scene.on(4 * D)
    leaves_alone(scene, 1, 2)
    scene.meet((3, 4))
    scene.until(lambda: scene.serves(2) == 0b1 and not scene.hosts[2].taking, "all is taken")
    see(not scene.drains(1), "the first ended")


def who_took_forgets_the_giver_first(make: Make) -> None:
    scene = removed(make)
    scene.set_voters(scene.hosts[2], REST)
    leaves_alone_until_forgotten(scene)


def starts_anew(scene: Scene) -> None:
    """Start the second anew, with a file in which the giver is not."""
    scene.crash(scene.hosts[2])
    scene.on(200 * MS)
    scene.hosts[2].voters = REST
    scene.start(scene.hosts[2])


def who_took_never_knew_the_giver(make: Make) -> None:
    scene = removed(make)
    starts_anew(scene)
    scene.on(SECOND)
    leaves_alone_until_forgotten(scene)


def who_took_is_told_when_all_have_forgotten(make: Make) -> None:
    """It starts anew, proves itself, and hears nothing from then until the others are done."""
    scene = removed(make)
    starts_anew(scene)
    scene.on(150 * MS)
    deaf = {(3, 2), (4, 2)}
    scene.weather.cut |= deaf
    scene.on(3 * D)
    see(scene.drains(1) == 0b1, "the first drains")
    scene.meet((3, 4))
    scene.on(120 * MS)
    see(scene.drains(1) == 0b1, "the first still drains")
    scene.weather.cut -= deaf
    scene.on(4 * D)
    taken(scene)


def who_tells_of_the_giver_restarts(make: Make) -> None:
    """For its grace the third counts to both, and nobody tells the second of the first."""
    scene = removed(make)
    # All hear the third, so that all know of its grace; and yet it does not forget the first.
    scene.weather.cut = {(4, 3), (2, 4)}
    scene.set_voters(scene.hosts[2], REST)
    scene.on(300 * MS)
    scene.hand_over(3)
    scene.part((2, 4))
    scene.on(4 * D)
    leaves_alone(scene, 1, 2)


def who_took_restarts_as_all_forget_the_giver(make: Make) -> None:
    """Its successor does not know what it heard of the first, which the others do not hear."""
    scene = removed(make)
    scene.on(500 * MS)
    scene.meet((3, 4))
    scene.set_voters(scene.hosts[2], REST)
    scene.on(150 * MS)
    leaves_alone(scene, 1, 2)
    scene.restart(2, 20 * MS)
    scene.on(4 * D)
    taken(scene)
