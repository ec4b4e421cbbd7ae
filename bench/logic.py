"""What the logic of a daemon costs, without sockets and an event loop: agents in one process.

`python -m bench.logic [NODES ...]` says it for so many nodes, and with `--profile` which functions
it goes to.
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import heapq
import pstats
import random
import statistics
import time
from typing import Final

import msgspec

from clusterip.adapters.datagrams import FakeDatagrams, Received
from clusterip.adapters.kernel_maps import FakeMaps
from clusterip.adapters.memory import FakeMemory
from clusterip.adapters.statusserver import SNAPSHOT_SECONDS
from clusterip.core.config.key_file import Key, Keys
from clusterip.core.config.model import Config
from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.core.health import Health
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.agent import Agent
from clusterip.runtime.coordinators.exchange import Given
from clusterip.runtime.coordinators.peer import Peers
from clusterip.runtime.naming import Names
from clusterip.runtime.report import alarmed
from clusterip.runtime.startup import Options

BUCKETS: Final = 120
_BEFORE: Final = 3 * SECOND
"""For how long they run until all is shared and quiet."""
_MEASURED: Final = 2 * SECOND
_TIMES: Final = 5
_SNAPSHOTS: Final = 100
_KEYS: Final = Keys((Key(1, b"k" * 32),))


def cluster_of(nodes: int, profile: str) -> Config:
    """Return the configuration of a cluster of so many nodes."""
    named = "\n".join(
        f'[[node]]\nname = "host{i}"\naddress = "192.0.2.{i}"' for i in range(1, nodes + 1)
    )
    return read(
        f'[cluster]\nname = "bench"\ninterface = "eth0"\nbuckets = {BUCKETS}\n'
        f'profile = "{profile}"\n[[vip]]\naddress = "198.51.100.1"\n' + named
    )


_Copy = tuple[Agent, FakeDatagrams]


class _Network:
    """Agents, and what is on its way: each message comes alone, up to a millisecond later."""

    def __init__(self, config: Config) -> None:
        self.now = 3600 * SECOND
        self.random = random.Random(1)
        self.queue: list[tuple[int, int, int, bytes]] = []
        self.agents: list[Agent] = []
        self.inboxes: list[FakeDatagrams] = []
        self.count = 0

        def clock() -> int:  # a copy of an agent goes by this network's
            return self.now

        for node in config.nodes:
            inbox, memory = FakeDatagrams(), FakeMemory(until=0)
            maps = FakeMaps(interface_state(config, 2, "eth0"))
            given = Given(
                config,
                node,
                _KEYS,
                Names(config),
                memory,
                maps,
                None,
                clock,
                Options(),
            )
            exchange = Peers(given, inbox)
            agent = Agent(exchange, maps=maps, memory=memory, clock=clock)
            self.agents.append(agent)
            self.inboxes.append(inbox)
        for at in range(len(self.agents)):
            self._at(self.now + self.random.randrange(100 * MILLISECOND), at)

    def _at(self, when: int, agent: int, raw: bytes = b"") -> None:
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, agent, raw))

    def run(self, until: int) -> list[tuple[int, bytes]]:
        """Let them run; return what came to the first one and when, nothing for its timer."""
        came = []
        due = [0] * len(self.agents)
        while self.queue[0][0] < until:
            self.now, _, at, raw = heapq.heappop(self.queue)
            if at == 0:
                came.append((self.now, raw))
            agent, inbox = self.agents[at], self.inboxes[at]
            step(agent, inbox, raw, self.now)
            when = max(agent.coordinator.next_timer(), self.now + 1)
            if when < due[at] or due[at] <= self.now:
                due[at] = when
                self._at(when, at)
            for said in inbox.sent:
                for other in range(len(self.agents)):
                    if other != at:
                        later = self.now + self.random.randrange(100_000, MILLISECOND)
                        self._at(later, other, said)
            inbox.sent.clear()
        return came

    def first_again(self) -> tuple[Agent, FakeDatagrams]:
        """Return a copy of the first one as it is now."""
        return copy.deepcopy((self.agents[0], self.inboxes[0]))


def step(agent: Agent, inbox: FakeDatagrams, raw: bytes, now: int) -> None:
    """Bring an agent what came, and its timer if that is due."""
    if raw:
        inbox.inbox.append(Received(raw, "192.0.2.1"))
        agent.receive()
    if agent.coordinator.next_timer() <= now:
        agent.timer()


def settled(nodes: int, profile: str, times: int) -> tuple[_Network, list[_Copy]]:
    """Return a network in which all is shared, and copies of its first agent from before a while.

    What came to the first agent in that while is to be brought to each of the copies.
    """
    network = _Network(cluster_of(nodes, profile))
    network.run(network.now + _BEFORE)
    return network, [network.first_again() for _ in range(times)]


def share_of(nodes: int, profile: str = "default") -> tuple[float, float]:
    """Return the share of a processor that one takes, in percent, and the µs for each message.

    One has a host of its own, as a rule, so what it did is done again, alone and several times. The
    least is told: other programs on the machine only ever add to it.
    """
    network, copies = settled(nodes, profile, _TIMES)
    came = network.run(network.now + _MEASURED)
    messages = sum(bool(raw) for _, raw in came)
    spent = min(_replayed(network, one, came) for one in copies)
    return 100 * spent / _MEASURED, spent / messages / 1000


def _replayed(network: _Network, one: _Copy, came: list[tuple[int, bytes]]) -> int:
    """Bring to an agent what came; return the processor time that it took, ns."""
    began = time.thread_time_ns()
    for network.now, raw in came:
        step(*one, raw, network.now)
    return time.thread_time_ns() - began


def status_of(nodes: int) -> float:
    """Return what telling the status takes of a processor, in percent, as often as it is told."""
    network, _ = settled(nodes, "default", 0)
    config, agent, health = cluster_of(nodes, "default"), network.agents[0], Health(())
    spent = []
    for _ in range(_SNAPSHOTS):
        began = time.thread_time_ns()
        msgspec.json.encode(alarmed(config, agent, health, now=network.now))
        spent.append(time.thread_time_ns() - began)
    return 100 * statistics.median(spent) / SECOND / SNAPSHOT_SECONDS


def profiled(nodes: int, lines: int) -> None:
    """Print where the time goes."""
    network, copies = settled(nodes, "default", 1)
    came = network.run(network.now + _MEASURED)
    profile = cProfile.Profile()
    profile.runcall(_replayed, network, copies[0], came)
    pstats.Stats(profile).sort_stats("tottime").print_stats(lines)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="bench.logic", description=__doc__)
    parser.add_argument("nodes", nargs="*", type=int, default=[3, 8, 32])
    parser.add_argument("--profile", type=int, default=0, metavar="LINES")
    arguments = parser.parse_args()
    for nodes in arguments.nodes:
        if arguments.profile:
            profiled(nodes, arguments.profile)
            continue
        share, each = share_of(nodes)
        print(f"{nodes} nodes: {share:.2f} % of a core, {each:.0f} us a message", flush=True)


if __name__ == "__main__":
    main()
