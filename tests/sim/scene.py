"""A cluster to which only happens what a script says: for faults that no random story meets."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from clusterip.core.lease.timing import DEFAULT, Timing
from tests.sim.coordinators import Make
from tests.sim.host import Host
from tests.sim.world import MS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clusterip.core.messages.message import Message

D: Final = DEFAULT.promise(DEFAULT.lease)
L: Final = DEFAULT.lease


class LostError(AssertionError):
    """What should have gone on did not."""


def see(right: bool, what: str) -> None:
    """Raise LostError unless it is `right`."""
    if not right:
        raise LostError(what)


class Scene(World):
    """A world with clocks that are right. Drains last, and successors wait, until it is said."""

    def __init__(
        self,
        make: Make,
        hosts: int,
        *,
        serving: Iterable[int],
        total: int = 1,
        timing: Timing = DEFAULT,
        alive: bool = False,
        absent: Iterable[int] = (),
        watch: int = 0,
    ) -> None:
        """Start `hosts`, numbered from 1, but those `absent`; who is not `serving` is a witness."""
        super().__init__(Random(1), timing, total, alive=alive, make=make)
        self.watch = watch
        self.when_sent: Callable[[Host, Message], None] | None = None
        """What is to happen once a message has left."""
        voters = frozenset(range(1, hosts + 1))
        for name in sorted(voters):
            host = self.add(voters, name, ppm=0)
            host.witness = name not in serving
            if name not in absent:
                self.start(host)

    # ---- what goes by itself in other worlds ----

    def drained(self, host: Host, bucket: int) -> None:
        pass

    def succeed(self, host: Host) -> None:
        pass

    def noted(self) -> int:
        return 0xFF

    def send(self, host: Host, message: Message) -> None:
        super().send(host, message)
        if self.when_sent:
            self.when_sent(host, message)

    # ---- what a script says ----

    def on(self, lasting: int) -> None:
        """Go on for so long, ns."""
        self.run(self.now + lasting)

    def until(self, holds: Callable[[], bool], what: str, *, within: int = 2000 * MS) -> None:
        """Go on until that holds; `what` says what it is, and that it did not come."""
        end = self.now + within
        while not holds():
            see(self.now < end, what)
            self.on(MS)

    def part(self, *pairs: tuple[int, int]) -> None:
        """Lose all messages from one to the other, both ways, from now on."""
        for one, other in pairs:
            self.weather.cut |= {(one, other), (other, one)}

    def meet(self, *pairs: tuple[int, int]) -> None:
        """Lose none from one to the other, either way."""
        for one, other in pairs:
            self.weather.cut -= {(one, other), (other, one)}

    def serves(self, name: int) -> int:
        return self.hosts[name].serves(self.now)

    def drains(self, name: int) -> int:
        return self.hosts[name].drains(self.now)

    def serving(self, name: int, buckets: int) -> None:
        """Go on until that host serves exactly these buckets."""
        self.until(lambda: self.serves(name) == buckets, f"{name} serves {buckets:#b}")

    def keeps(self, name: int, buckets: int, lasting: int, *, drains: int = 0) -> None:
        """Go on for so long, ns, and see that host serve and drain exactly these all the time."""
        end = self.now + lasting
        while self.now < end:
            self.on(5 * MS)
            both = self.serves(name), self.drains(name)
            see(both == (buckets, drains), f"{name} goes on, {both}")

    def healthy(self, name: int, healthy: bool) -> None:
        self.hosts[name].healthy = healthy
        self.tell(self.hosts[name], lambda node, now: node.set_health(healthy, now=now))

    def drain(self, name: int) -> None:
        self.hosts[name].leaving = True
        self.tell(self.hosts[name], lambda node, now: node.drain(now=now))

    def undrain(self, name: int) -> None:
        self.hosts[name].leaving = False
        self.tell(self.hosts[name], lambda node, now: node.undrain(now=now))

    def give(self, giver: int, taker: int, bucket: int = 0b1) -> None:
        """Let the giver drain, until the taker has the bucket and leaves the giver its flows."""
        self.drain(giver)
        self.serving(taker, bucket)
        see(self.drains(giver) == self.hosts[taker].taking == bucket, "the giver drains")

    def prepare_restart(self, name: int) -> None:
        host = self.hosts[name]
        host.restarting = True
        self.tell(host, lambda node, now: node.prepare_restart(now=now))

    def hand_over(self, name: int) -> None:
        """Restart a host as planned, up to where its successor is to be started."""
        self.prepare_restart(name)
        self.until(lambda: self.hosts[name].node is None, f"{name} hands over")

    def restart(self, name: int, lasting: int = 100 * MS) -> None:
        """Restart a host as planned, which takes so long, ns."""
        self.hand_over(name)
        self.on(lasting)
        self.start(self.hosts[name])
