"""A cluster of members in memory: their network delivers at once, their clock is turned by hand.

Whenever something was done two things are held against each other: what each node believes of its
kernel, and what its maps have; and of all maps, that no bucket is answered twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from clusterip.adapters.abi import BucketState
from clusterip.adapters.datagrams import FakeDatagrams, Received
from clusterip.adapters.kernel_maps import FakeMaps
from clusterip.adapters.memory import FakeMemory
from clusterip.core.buckets import buckets_of
from clusterip.core.config.key_file import Key, Keys
from clusterip.core.config.model import Config
from clusterip.core.config.reading import read
from clusterip.core.config.state import GROUP, interface_state
from clusterip.core.lease.node import Node
from clusterip.core.leftovers import Handed
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.agent import Agent
from clusterip.runtime.coordinators.exchange import Given
from clusterip.runtime.coordinators.peer import Peers
from clusterip.runtime.naming import Names
from clusterip.runtime.startup import Options
from tests.core.config.texts import with_lines

MS = MILLISECOND
BUCKETS = 6
KEYS = Keys((Key(1, b"k" * 32),))
TEXT = with_lines("buckets = 6")
THREE = read(TEXT)


class Host:
    """An agent and what it acts on."""

    def __init__(self, name: str, config: Config, clock: Callable[[], int]) -> None:
        me = config.node(name)
        assert me is not None
        self.name, self.config, self.me, self.clock = name, config, me, clock
        self.inbox = FakeDatagrams()
        self.memory = FakeMemory(until=0)
        self.maps = None if me.witness else FakeMaps(interface_state(config, 2, "eth0"))
        self.runs = True
        self._checked: tuple[object, ...] = ()
        self.agent = self.start()

    @property
    def node(self) -> Node:
        return self.exchange.node

    def start(self, handed: Handed | None = None, *, new_voters: bool = False) -> Agent:
        """Make an agent, in place of the one before."""
        options = Options(new_voters=new_voters)
        given = Given(
            self.config,
            self.me,
            KEYS,
            Names(self.config),
            self.memory,
            self.maps,
            handed,
            self.clock,
            options,
        )
        self.exchange = Peers(given, self.inbox)
        self.agent = Agent(
            self.exchange,
            maps=self.maps,
            memory=self.memory,
            clock=self.clock,
            handed=handed if self.exchange.resumed else None,
        )
        return self.agent

    def take(self, datagrams: Iterable[Received]) -> None:
        """Take in these datagrams alone."""
        for heard in self.exchange.take(datagrams):
            self.agent._take_in(heard)

    def states(self, *wanted: BucketState) -> list[int]:
        """Return the buckets that are in one of those states in the maps."""
        return list(_in_states(self._shown(), wanted))

    def _shown(self) -> tuple[BucketState, ...]:
        groups = {} if self.maps is None else self.maps.groups
        return tuple(groups.get(GROUP, ())[: self.config.buckets])

    @property
    def held(self) -> list[int]:
        return self.states(BucketState.OWNED, BucketState.TAKING, BucketState.WATCHING)

    def answers(self) -> list[int]:
        """Return the buckets that the kernel would answer for."""
        alive = self.maps is not None and self.maps.deadline(GROUP) > self.clock()
        return self.held if alive else []

    def check(self) -> None:
        """Hold the maps against what the node believes."""
        kernel = self.node.kernel
        if self.maps is not None:
            assert self.maps.deadline(GROUP) == (0 if kernel.is_shut else kernel.deadline)
        believed = (kernel.owned, kernel.taking, kernel.draining)
        now = (self._shown(), *believed, *self.agent.drains.since)
        # Most steps change nothing.
        if now == self._checked:
            return
        owned = self.states(BucketState.OWNED, BucketState.WATCHING)
        assert owned == list(buckets_of(kernel.owned))
        assert self.states(BucketState.TAKING) == list(buckets_of(kernel.taking))
        assert self.states(BucketState.DRAINING) == list(buckets_of(kernel.draining))
        assert sorted(self.agent.drains.since) == list(buckets_of(kernel.draining))
        self._checked = now


@cache
def _in_states(states: tuple[BucketState, ...], wanted: tuple[BucketState, ...]) -> tuple[int, ...]:
    return tuple(bucket for bucket, state in enumerate(states, start=1) if state in wanted)


class Cluster:
    """All hosts of a configuration."""

    def __init__(self, config: Config = THREE) -> None:
        self.now = 3600 * SECOND
        self.hosts = [Host(one.name, config, lambda: self.now) for one in config.nodes]
        for host in self.hosts:
            host.inbox.peers = [other.inbox for other in self.hosts if other is not host]
            host.agent.pump()

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def run(self, seconds: float) -> None:
        """Turn the clock, and bring each host that runs what came and what is due."""
        ends = self.now + int(seconds * SECOND)
        while self.now < ends:
            self.now += 5 * MS
            for host in self.hosts:
                self.step(host)

    def step(self, host: Host) -> None:
        if not host.runs or host.agent.may_go:
            return
        # As an event loop does: only where something came.
        if host.inbox.inbox:
            host.agent.receive()
        if not host.agent.may_go and host.node.next_timer() <= self.now:
            host.agent.timer()
        host.check()
        answered = self.answered()
        assert len(answered) == len(set(answered)), "two answer"

    def cut(self, name: str) -> None:
        """Take a host off the network."""
        for host in self.hosts:
            host.inbox.peers = [
                one for one in host.inbox.peers if host.name != name and one is not self[name].inbox
            ]

    def answered(self) -> list[int]:
        return sorted(bucket for host in self.hosts for bucket in host.answers())


ALL = list(range(1, BUCKETS + 1))


def sharing(config: Config = THREE) -> Cluster:
    """Return a cluster whose buckets are all answered."""
    cluster = Cluster(config)
    cluster.run(4)
    assert cluster.answered() == ALL
    return cluster
