"""A third coordinator: it borrows its buckets from a server, and asks nobody else.

The server is an object in memory. It lends each bucket to one node, until a time, and never before
that of another is over: all that is asked of a coordinator, in as few lines as may be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from clusterip.core.buckets import mask_of
from clusterip.core.config.model import Config
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.messages.message import digest_of_name
from clusterip.core.serving.actions import BucketState, Reception
from clusterip.core.serving.coordinator import NEVER, Pace
from clusterip.core.serving.other import Other
from clusterip.core.serving.static import Static
from clusterip.core.units import MILLISECOND
from clusterip.runtime.coordinators.exchange import Exchange, Given, Order
from clusterip.runtime.coordinators.kinds import Kind

LEASE = 500 * MILLISECOND
EVERY = 100 * MILLISECOND


class Wish(NamedTuple):
    """What a node says: that it is there; `serves` is whether it wants buckets."""

    node: int
    serves: bool


class Lent(NamedTuple):
    """What the server says: the mask of what it lends, and until when, ns."""

    buckets: int
    until: int


class Server:
    """Lends the buckets 1..total."""

    def __init__(self, total: int) -> None:
        self.lent: dict[int, tuple[int, int]] = dict.fromkeys(range(1, total + 1), (0, 0))
        """Bucket -> to whom, until when."""
        self._asked: dict[int, int] = {}

    def ask(self, wish: Wish, now: int) -> Lent:
        node, until = wish.node, now + LEASE
        self._asked[node] = now if wish.serves else -LEASE
        served = sorted(one for one, at in self._asked.items() if at + LEASE > now)
        for bucket, (holder, ends) in self.lent.items():
            due = bool(served) and served[bucket % len(served)] == node
            if due and (holder == node or ends <= now):
                self.lent[bucket] = node, until
            elif holder == node:
                self.lent[bucket] = node, min(ends, now)
        return Lent(mask_of(b for b, one in self.lent.items() if one == (node, until)), until)


class Borrower(Static):
    """Has what was lent to it, until that is over."""

    def __init__(self, me: int, total: int) -> None:
        self._asks_at = 0
        super().__init__(me, total, 0)

    def use(self, buckets: int, until: int = 0) -> None:
        kernel = self.kernel
        kernel.put(kernel.open & ~buckets, BucketState.NONE)
        kernel.limit(until)
        kernel.put(buckets & ~kernel.open, BucketState.OWNED)

    @property
    def pace(self) -> Pace:
        return Pace(lease=LEASE, gap=EVERY, giving=LEASE)

    def receive(self, heard: Lent, *, now: int) -> Reception:  # type: ignore[override]
        if heard.until > now and not self.own.stopped:
            self.use(heard.buckets, heard.until)
        return Reception.ACCEPTED

    def handle_timer(self, *, now: int) -> None:
        if self.kernel.open and self.kernel.deadline <= now:
            self.use(0)

    def message_to_send(self, *, now: int) -> Wish | None:  # type: ignore[override]
        if self.kernel.actions or now < self._asks_at or self.gone:
            return None
        self._asks_at = now + EVERY
        return Wish(self.me, not self.own.leaving)

    def next_timer(self) -> int:
        return NEVER if self.gone else self._asks_at


class Borrowing(Exchange):
    """Brings wishes to the server, and its answers back."""

    def __init__(self, given: Given, server: Server) -> None:
        me = digest_of_name(given.me.name)
        self.borrower = Borrower(me, given.config.buckets)
        super().__init__(self.borrower, given.names)
        self._server, self._clock = server, given.clock
        self.answers: deque[Lent] = deque()

    def receive(self) -> Iterator[Order | Other | None]:
        while self.answers:
            self.borrower.receive(self.answers.popleft(), now=self._clock())
            self.traffic.received["lent"] += 1
            yield None

    def speak(self, *, last: bool = False) -> bool:
        wish = self.borrower.message_to_send(now=self._clock())
        if wish is None:
            return False
        self.traffic.sent += 1
        self.answers.append(self._server.ask(wish, self._clock()))
        return True


def kind(server: Server) -> Kind:
    """Return the line of the table."""

    def connect(_config: Config, _me: ConfigNode) -> AbstractContextManager[Server]:
        return nullcontext(server)

    return Kind(connect, Borrowing)
