"""Stories of buckets that move: who may have them, who still answers what began before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.lease.timing import DEFAULT
from tests.sim.scene import D, Scene, see
from tests.sim.world import MS, SECOND

if TYPE_CHECKING:
    from clusterip.core.messages.message import Message
    from tests.sim.coordinators import Make
    from tests.sim.host import Host


def settled(make: Make, hosts: int = 3) -> Scene:
    """Return hosts: the first serves, the second could, the rest are witnesses."""
    scene = Scene(make, hosts, serving=(1, 2), absent=(2,))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    see(scene.serves(1) == 0b1, "the first serves")
    return scene


def taken(scene: Scene) -> None:
    """See that the second has the bucket, and leaves nothing of it to anybody."""
    see(scene.serves(2) == 0b1 and not scene.hosts[2].taking, "the second has all of it")


def who_drains_is_cut_off_for_a_while(make: Make) -> None:
    scene = settled(make)
    scene.give(1, 2)
    scene.part((1, 2), (1, 3))
    scene.on(D + 400 * MS)
    taken(scene)
    scene.meet((1, 2), (1, 3))
    scene.on(500 * MS)


def who_drains_is_cut_off_while_a_voter_restarts(make: Make) -> None:
    scene = settled(make)
    scene.give(1, 2)
    scene.on(300 * MS)
    scene.hand_over(3)
    scene.part((1, 2), (1, 3))
    scene.on(200 * MS)
    scene.start(scene.hosts[3])
    scene.on(DEFAULT.restart + SECOND)
    taken(scene)


def who_took_does_not_hear_that_a_voter_restarts(make: Make) -> None:
    scene = settled(make)
    scene.give(1, 2)
    scene.on(300 * MS)
    scene.weather.cut.add((3, 2))
    scene.hand_over(3)
    scene.part((1, 2), (1, 3))
    scene.on(200 * MS)
    scene.weather.cut.discard((3, 2))
    scene.start(scene.hosts[3])
    scene.on(2 * SECOND)
    taken(scene)


def who_took_does_not_hear_of_the_restart(make: Make) -> None:
    """The witness agrees to it, and then hears no more of who drains."""
    scene = settled(make)
    scene.give(1, 2)
    scene.on(300 * MS)
    scene.weather.cut.add((1, 2))
    scene.prepare_restart(1)
    scene.on(300 * MS)
    scene.part((1, 2), (1, 3))
    scene.on(2 * SECOND)
    taken(scene)


def who_took_restarts_and_the_voter_dies(make: Make) -> None:
    """Who drains is in a restart, and the voters of whom the taker hears know nothing of it."""
    scene = settled(make)
    scene.give(1, 2)
    scene.on(300 * MS)
    scene.hand_over(1)
    scene.restart(2)
    scene.crash(scene.hosts[3])
    scene.start(scene.hosts[3])
    scene.on(2 * SECOND)
    see(scene.drains(1) == scene.hosts[2].taking == 0b1, "it leaves the first its flows")


def pauses_when_it_has_said_so(make: Make) -> None:
    scene = settled(make)

    def pause(host: Host, message: Message) -> None:
        if host.id == 1 and not message.want:
            scene.pause(host)

    scene.when_sent = pause
    # So its last message is long enough ago.
    scene.weather.lag[1] = 10 * MS
    scene.drain(1)
    scene.serving(2, 0b1)


def pauses_while_leases_end_at_different_times(make: Make) -> None:
    """Of the first host's buckets three of five promise it the second, too late for one of them."""
    scene = Scene(make, 5, serving=(1, 2), total=2)
    scene.on(3 * SECOND)
    see((scene.serves(1), scene.serves(2)) == (0b01, 0b10), "both serve")
    scene.weather.cut.add((2, 3))
    scene.drain(2)
    scene.serving(1, 0b11)
    scene.part((2, 1), (1, 5))
    scene.on(500 * MS)
    # The third did not hear of the release: so it promises the first nothing of this bucket.
    scene.weather.cut.discard((2, 3))
    scene.undrain(2)
    scene.on(60 * MS)
    see(scene.serves(1) == 0b11, "no lease is over yet")
    scene.pause(scene.hosts[1])
    scene.on(500 * MS)
    see(bool(scene.serves(2) & 0b10), "the second has it again")


def dies_with_promises_for_a_restart(make: Make) -> None:
    """The voters are bound to its last incarnation for longer than its next one waits.

    They meant to restart, and did not: what they had granted they had granted for that long.
    """
    timing = DEFAULT._replace(restart=1500 * MS)
    scene = Scene(make, 5, serving=(1, 2), absent=(1,), timing=timing)
    scene.serving(2, 0b1)
    scene.on(SECOND)
    scene.part((1, 2))
    scene.start(scene.hosts[1])
    scene.on(1300 * MS)
    for voter in (3, 4, 5):
        scene.tell(scene.hosts[voter], lambda node, now: node.prepare_restart(now=now))
    scene.on(60 * MS)
    for voter in (3, 4, 5):
        scene.tell(scene.hosts[voter], lambda node, now: node.cancel_restart(now=now))
    scene.crash(scene.hosts[2])
    # All have said meanwhile what they had heard of the last one.
    scene.on(150 * MS)
    scene.start(scene.hosts[2])
    scene.on(1290 * MS)
    scene.weather.cut |= {(voter, 2) for voter in (3, 4, 5)}
    scene.on(200 * MS)
    see(scene.serves(1) == 0b1, "the first has it")


def hears_late_grants_before_it_asks(make: Make) -> None:
    scene = Scene(make, 5, serving=(1, 2), absent=(2,))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    late: dict[int, Message] = {}
    scene.when_sent = lambda host, message: late.update({host.id: late.get(host.id, message)})
    scene.weather.cut |= {(voter, 1) for voter in (3, 4, 5)}
    scene.on(200 * MS)
    scene.when_sent = None
    scene.healthy(1, False)
    scene.serving(2, 0b1)
    scene.on(20 * MS)

    def recover(host: Host, message: Message) -> None:
        if host.id == 2 and not message.healthy:
            scene.when_sent = None
            scene.healthy(1, True)

    # It has just said something when it learns that the bucket is to be its own.
    scene.when_sent = recover
    scene.healthy(2, False)
    scene.on(3 * MS // 2)
    node = scene.hosts[1].peer
    see(
        node is not None and node.state.plan.intent & ~node.state.votes.holder.advertised == 0b1,
        "it did not ask yet",
    )
    for voter in (3, 4, 5):
        scene.deliver(scene.hosts[1], late[voter], prompt=False)


def who_drains_is_removed(make: Make) -> None:
    scene = Scene(make, 4, serving=(1, 2), absent=(2,))
    scene.serving(1, 0b1)
    scene.start(scene.hosts[2])
    scene.on(2 * SECOND)
    scene.give(1, 2)
    rest = frozenset({2, 3, 4})
    for name in rest:
        scene.set_voters(scene.hosts[name], rest)
        scene.on(30 * MS)
    scene.on(3 * SECOND)
    taken(scene)


def comes_back_while_a_bucket_moves(make: Make) -> None:
    """The bucket of the second is on its way to the third, who is to have it."""
    scene = Scene(make, 3, serving=(1, 2, 3), total=3)
    scene.on(3 * SECOND)
    scene.hosts[3].weight = 2
    scene.tell(scene.hosts[3], lambda node, now: node.set_weight(2, now=now))
    scene.on(500 * MS)
    scene.hand_over(1)
    scene.on(200 * MS)
    had = scene.hosts[1].open
    scene.drain(2)
    scene.on(11 * MS // 2)
    scene.start(scene.hosts[1])
    scene.on(100 * MS)
    first = scene.hosts[1]
    see((first.open, first.draining) == (had, 0), "the first had nothing of it")


def asks_when_last_heard(make: Make) -> None:
    """The second hears that the first asks for a bucket; not that it had it, and gave it back.

    The third promises it to the second: it hears nothing of the first in between.
    """
    scene = Scene(make, 3, serving=(1, 2), total=2)
    scene.on(3 * SECOND)
    see((scene.serves(1), scene.serves(2)) == (0b01, 0b10), "both serve")
    cut = scene.weather.cut
    cut.add((1, 3))
    scene.on(400 * MS)
    scene.healthy(2, False)
    scene.until(lambda: scene.drains(2) == 0b10, "the second gives it")
    cut.add((1, 2))
    scene.serving(1, 0b11)
    scene.on(300 * MS)
    scene.healthy(2, True)
    scene.until(lambda: scene.drains(1) == 0b10, "the first gives it back")
    scene.on(190 * MS)
    cut.add((3, 2))
    cut.discard((1, 3))
    scene.on(300 * MS)
    see(scene.serves(2) == scene.drains(1) == 0b10, "the second has it, and the first drains")


def heard_grace(scene: Scene, hearer: int, sender: int) -> int:
    """Return the grace, ns, in the newest message that one heard of another."""
    node = scene.hosts[hearer].peer
    newest = node.state.hearing.peers.all[sender].newest if node else None
    return newest.grace if newest else 0


def who_drains_says_its_grace_again_and_has_no_successor(make: Make) -> None:
    """Who took misses the second time, from which the grace counts; the voter hears it."""
    scene = Scene(make, 3, serving=(1, 2), total=1, alive=False)
    scene.on(3 * SECOND)
    scene.healthy(1, False)
    scene.on(2 * SECOND)
    scene.healthy(1, True)
    giver, taker = (1, 2) if scene.serves(1) else (2, 1)
    scene.give(giver, taker)
    scene.on(500 * MS)
    scene.weather.cut.add((3, giver))
    scene.prepare_restart(giver)
    scene.until(lambda: heard_grace(scene, taker, giver) > 0, "who took hears of the grace")
    scene.weather.cut.add((giver, taker))
    scene.on(110 * MS)
    scene.weather.cut.discard((3, giver))
    scene.until(lambda: scene.hosts[giver].node is None, "it hands over", within=2 * SECOND)
    scene.weather.cut.clear()
    scene.on(7 * SECOND)
