"""Why buckets come and go: an event for each cause, and not for each bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from clusterip.adapters.telling import tell
from clusterip.core.buckets import buckets_of
from clusterip.core.events import (
    BucketsGiven,
    BucketsLost,
    BucketsTaken,
    DrainBegan,
    DrainEnded,
    Event,
)
from clusterip.core.serving.coordinator import Coordinator
from clusterip.core.serving.other import Other
from clusterip.core.units import SECOND

_TOGETHER: Final = SECOND
"""What moves within this time after a line is said as one, ns."""


class Moves:
    """What was said of the buckets of `node`; `name` gives the names of nodes."""

    def __init__(self, node: Coordinator[Any, Any], name: Callable[[int], str]) -> None:
        self._node, self._name = node, name
        self._open, self._draining = node.kernel.open, node.kernel.draining
        self._drained = 0
        """The mask of what drained at any time since it was last said what changed."""
        self._emptied = 0
        """The mask of what was drained by itself since then, and not cut short."""
        self._said_at = 0
        self._last: dict[int, int] = {node.me: self._open}
        """Node -> the mask of the buckets of which it was the last to have them."""
        self._given = 0
        """The mask of those that it gave away."""

    def heard(self, other: Other) -> None:
        """Take in what another node holds, and gives away."""
        had = self._last.get(other.node, 0)
        if had & other.held != other.held:
            self._has(other.node, other.held)
        # It may keep after all what it was giving, and die with it.
        self._given &= ~other.held
        self._given |= other.draining & self._last.get(other.node, 0)

    def _has(self, node: int, held: int) -> None:
        for other in self._last:
            self._last[other] &= ~held
        self._last[node] = self._last.get(node, 0) | held

    def last(self, bucket: int) -> int:
        """Return which node was the last to have a bucket, 0 if none is known."""
        return next((node for node, had in self._last.items() if had >> bucket - 1 & 1), 0)

    def look(self, *, now: int) -> None:
        """Say what changed since it was last said, if that is long enough ago, or the end."""
        kernel, node = self._node.kernel, self._node
        self._drained |= kernel.draining
        over = self._drained & ~(kernel.open | kernel.draining)
        self._emptied = over & (self._emptied if self._end(now) else over)
        if (kernel.open, kernel.draining) == (self._open, self._draining):
            return
        if now < self._said_at + _TOGETHER and not (node.own.stopped or node.gone):
            return
        self._said_at = now
        for event in (*self._came(), *self._went(now)):
            tell(event)
        self._open, self._draining = kernel.open, kernel.draining
        self._drained, self._emptied = kernel.draining, 0
        self._has(node.me, kernel.open)
        self._given &= ~kernel.open

    def _came(self) -> Iterator[Event]:
        came = self._node.kernel.open & ~self._open
        for other, had in sorted(self._last.items()):
            given = came & had & self._given
            for some in filter(None, (given, came & had & ~given)):
                cause = self._from(other, given=some == given)
                yield BucketsTaken(buckets=_buckets(some), came_from=self._name(other), cause=cause)
            came &= ~had
        if came:
            yield BucketsTaken(buckets=_buckets(came), cause="which nobody had")

    def _from(self, other: int, *, given: bool) -> str:
        name = self._name(other)
        newest = self._node.known(other)
        if other == self._node.me:
            return "which were ours before"
        if newest is not None and (given or newest.leaving):
            return f"given by {name}, {_why(newest.leaving, newest.healthy, 'it')}"
        if self._node.lives(other):
            return f"which {name} had before"
        return f"taken over from {name}, which is silent"

    def _went(self, now: int) -> Iterator[Event]:
        kernel, node = self._node.kernel, self._node
        why = _why(node.own.leaving, node.own.healthy, "this node")
        for other, some in self._takers(kernel.draining & ~self._draining):
            yield DrainBegan(buckets=_buckets(some), to=other, cause=why)
        cause = self._end(now)
        gone = self._open & ~(kernel.open | kernel.draining)
        for other, some in self._takers(gone & self._emptied):
            yield BucketsGiven(buckets=_buckets(some), to=other, cause=why)
        lost = gone & ~self._emptied
        if lost:
            yield BucketsLost(buckets=_buckets(lost), cause=cause or "its lease was not renewed")
        drained = self._draining & ~(kernel.draining | kernel.open)
        if drained & self._emptied:
            yield DrainEnded(buckets=_buckets(drained & self._emptied))
        if drained & ~self._emptied:
            yield DrainEnded(buckets=_buckets(drained & ~self._emptied), cause=cause)

    def _end(self, now: int) -> str:
        """Return what ends all serving here, "" if nothing does."""
        node = self._node
        if not node.own.link:
            return "the interface is down"
        if node.own.stopped or node.gone:
            return "this daemon ends"
        return "" if node.in_contact(now) else node.lacks

    def _takers(self, some: int) -> Iterator[tuple[str, int]]:
        """Yield who asks for some of these buckets, and which."""
        for other, one in sorted(self._node.others.items()):
            if some & one.want:
                yield self._name(other), some & one.want
            some &= ~one.want
        if some:
            yield "others", some


def _buckets(mask: int) -> list[int]:
    return list(buckets_of(mask))


def _why(leaving: bool, healthy: bool, who: str) -> str:
    """Return why a node gives buckets away."""
    if leaving:
        return f"for {who} is drained, or stops"
    return "as planned" if healthy else f"for {who} is unhealthy"
