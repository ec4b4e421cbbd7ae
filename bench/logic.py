"""What the logic of a daemon costs, without sockets and an event loop: agents in one process.

`python -m bench.logic [NODES ...]` says it for so many nodes, and with `--profile` which functions
it goes to.
"""

from __future__ import annotations

import argparse
import cProfile
import heapq
import pstats
import random
import time
from typing import TYPE_CHECKING, Final

from clusterip.adapters.datagrams import FakeDatagrams, Received
from clusterip.adapters.dataplane import FakePlane
from clusterip.adapters.runfiles import FakeMemory
from clusterip.core.config import Config, read
from clusterip.core.config.keys import Key, Keys
from clusterip.core.config.state import interface_state
from clusterip.core.messages.message import digest_of_name
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.agent import Agent
from clusterip.runtime.startup import Options, make_node

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKETS: Final = 120
_BEFORE: Final = 3 * SECOND
"""For how long they run until all is shared and quiet."""
_MEASURED: Final = SECOND
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


class _Network:
    """Agents, and what is on its way: each message comes alone, up to a millisecond later."""

    def __init__(self, config: Config) -> None:
        self.now = 3600 * SECOND
        self.random = random.Random(1)
        self.queue: list[tuple[int, int, int, bytes]] = []
        self.agents: list[Agent] = []
        self.inboxes: list[FakeDatagrams] = []
        self.count = 0
        for node in config.nodes:
            inbox, memory = FakeDatagrams(), FakeMemory(until=0)
            made = make_node(config, node, Options(), memory, None, now=self.now)
            plane = FakePlane(interface_state(config, 2, "eth0"))
            agent = Agent(
                made,
                cluster=digest_of_name(config.name),
                plane=plane,
                datagrams=inbox,
                memory=memory,
                clock=lambda: self.now,
            )
            agent.use_keys(_KEYS)
            self.agents.append(agent)
            self.inboxes.append(inbox)
        for at in range(len(self.agents)):
            self._at(self.now + self.random.randrange(100 * MILLISECOND), at)

    def _at(self, when: int, agent: int, raw: bytes = b"") -> None:
        self.count += 1
        heapq.heappush(self.queue, (when, self.count, agent, raw))

    def run(self, until: int, call: Callable[[Callable[[], None]], object]) -> int:
        """Let them run, each step by `call`; return how many messages were taken in."""
        taken = 0
        due = [0] * len(self.agents)
        while self.queue[0][0] < until:
            self.now, _, at, raw = heapq.heappop(self.queue)
            agent = self.agents[at]
            if raw:
                taken += 1
                self.inboxes[at].inbox.append(Received(raw, f"192.0.2.{at + 1}"))
                call(agent.receive)
            if agent.node.next_timer() <= self.now:
                call(agent.timer)
            when = max(agent.node.next_timer(), self.now + 1)
            if when < due[at] or due[at] <= self.now:
                due[at] = when
                self._at(when, at)
            self._deliver(at)
        return taken

    def _deliver(self, at: int) -> None:
        for raw in self.inboxes[at].sent:
            for other in range(len(self.agents)):
                if other != at:
                    self._at(self.now + self.random.randrange(100_000, MILLISECOND), other, raw)
        self.inboxes[at].sent.clear()


def share_of(nodes: int, profile: str = "default") -> tuple[float, float]:
    """Return the share of a processor that one takes, in percent, and the µs for each message."""
    network = _Network(cluster_of(nodes, profile))
    network.run(network.now + _BEFORE, lambda step: step())
    spent = 0

    def timed(step: Callable[[], None]) -> None:
        nonlocal spent
        began = time.thread_time_ns()
        step()
        spent += time.thread_time_ns() - began

    taken = network.run(network.now + _MEASURED, timed)
    return 100 * spent / nodes / _MEASURED, spent / taken / 1000


def profiled(nodes: int, lines: int) -> None:
    """Print where the time goes."""
    network = _Network(cluster_of(nodes, "default"))
    network.run(network.now + _BEFORE, lambda step: step())
    profile = cProfile.Profile()
    network.run(network.now + SECOND, profile.runcall)
    stats = pstats.Stats(profile).sort_stats("tottime")
    stats.print_stats(lines)
    stats.print_callers("dict. objects")


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
