"""Nodes of which some run twice, by a file that was copied."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, THREE, Lan, node

SECOND_OF_2 = 12
"""The key of the double."""
incarnations = itertools.count(1000)
FEW = 3


def schedules(number: int) -> list[object]:
    """Seeds of random schedules: a few for the fast tests, and the others."""
    few, others = range(FEW), range(FEW, number)
    return [*few, *(pytest.param(seed, marks=pytest.mark.long) for seed in others)]


class Doubled(Lan):
    """A Lan with more nodes: `doubles` says by key as which they run.

    Unless `reached`, no message comes to them. Of no bucket the kernels of two may answer at once,
    but where `parts` says of pairs that they do not hear each other.
    """

    def __init__(
        self,
        *,
        reached: bool,
        voters: frozenset[int] = THREE,
        doubles: Mapping[int, int] = {SECOND_OF_2: 2},
        alive: bool = False,
    ) -> None:
        super().__init__(*(node(me, voters=voters, alive=alive) for me in sorted(voters)))
        self.doubles = doubles
        self.reached = reached
        self.parts: Callable[[Node, Node], bool] | None = None
        self.run(4 * SECOND)
        self.held_before = self.held()
        for key in doubles:
            self.begin(key)

    def begin(self, key: int) -> None:
        """Start a node without a memory."""
        me = self.doubles.get(key, key)
        config = next(one.state.config for one in self.nodes.values())._replace(me=me)
        # The longest promise that a memory before may have given.
        mute = DEFAULT.promise(DEFAULT.restart)
        self.nodes[key] = Node(config, incarnation=next(incarnations), mute=mute, now=self.now)

    def restart(self, key: int) -> None:
        """Restart a node as planned, if others bear it."""
        old = self.nodes[key]
        old.prepare_restart(now=self.now)
        self.run(self.now + 300 * MS)
        if old.kernel.deadline < self.now + SECOND or old.kernel.actions:
            old.cancel_restart(now=self.now)
            return
        document = HandOver.decode(old.hand_over())
        del self.nodes[key]
        self.run(self.now + 400 * MS)
        self.nodes[key] = Node(old.state.config, handover=document, now=self.now)

    def hears(self, one: Node, other: Node) -> bool:
        double = any(self.nodes.get(key) is other for key in self.doubles)
        parted = self.parts is not None and self.parts(one, other)
        return super().hears(one, other) and (self.reached or not double) and not parted

    def step(self) -> None:
        super().step()
        if self.parts is not None:
            return
        answered = 0
        for one in self.nodes.values():
            if one.kernel.deadline > self.now and not one.kernel.is_shut:
                assert not answered & one.kernel.open, "two hosts answer"
                answered |= one.kernel.open

    def served(self) -> int:
        """Return the mask of buckets that are answered."""
        return sum(one.kernel.open for one in self.nodes.values() if one.kernel.deadline > self.now)
