"""From what the living say to what this node should ask for: the planner, fed and remembered."""

from __future__ import annotations

from clusterip.core.buckets import buckets_of
from clusterip.core.serving.planner import Member, eligible, plan

View = tuple[int, int, tuple[int, bool, bool, bool]]
"""What the planner needs to know of a node: want, held, (weight, healthy, leaving, ready)."""


class Assignment:
    """The plan of one node. `owner[i]` is the node that should own bucket i + 1, 0 for none."""

    def __init__(self, me: int, total: int) -> None:
        self.me = me
        self.total = total
        self.owner: tuple[int, ...] = (0,) * total
        self.of: dict[int, int] = {}
        """Node -> mask of the buckets it should own."""
        self.able = False
        """Whether this node is one of those who share the buckets."""
        self._views: dict[int, View] = {}

    @property
    def mine(self) -> int:
        """Mask of the buckets this node should own."""
        return self.of.get(self.me, 0)

    def update(self, views: dict[int, View]) -> None:
        """Plan anew if what the living say (this node among them) asks for it."""
        if views == self._views:
            return
        self._views = views
        members = [Member(node, *view[2]) for node, view in views.items()]
        self.able = any(member.node == self.me for member in eligible(members))
        self.owner = plan(members, self._owners(sorted(views.items())))
        self.of = {}
        for i, node in enumerate(self.owner):
            self.of[node] = self.of.get(node, 0) | 1 << i

    def _owners(self, views: list[tuple[int, View]]) -> list[int]:
        """Return who has each bucket: who holds it, else who asks for it first by node id.

        One that asks counts, so that a plan once made is kept while it is being carried out.
        """
        owners = [0] * self.total
        free = (1 << self.total) - 1
        for masks in ([view[1] for _, view in views], [view[0] for _, view in views]):
            for (node, _), mask in zip(views, masks, strict=True):
                for bucket in buckets_of(mask & free):
                    owners[bucket - 1] = node
                free &= ~mask
        return owners
