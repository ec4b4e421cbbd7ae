"""A coordinator is exchanged for another one: an agent drives any, and knows none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.kernel_maps import FakeMaps
from clusterip.adapters.memory import FakeMemory
from clusterip.core.buckets import mask_of
from clusterip.core.config.state import GROUP, interface_state
from clusterip.core.errors import RefusedError
from clusterip.core.health import Health
from clusterip.core.messages.command import Verb
from clusterip.core.messages.message import digest_of_name
from clusterip.core.serving.static import Static
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.agent import Agent
from clusterip.runtime.coordinators import kinds
from clusterip.runtime.coordinators.exchange import Exchange, Given
from clusterip.runtime.naming import Names
from clusterip.runtime.report import report
from clusterip.runtime.startup import Options
from tests.runtime.agents import ALL, BUCKETS, KEYS, THREE
from tests.runtime.coordinators import borrowing

NODES = ["web1", "web2", "web3"]


class Host:
    """An agent of a coordinator of some kind, with a kernel of its own."""

    def __init__(self, name: str, clock: Callable[[], int], make: Callable[[Given], Exchange]):
        me = THREE.node(name)
        assert me is not None
        self.clock, self.runs = clock, True
        self.maps = FakeMaps(interface_state(THREE, 2, "eth0"))
        memory = FakeMemory(until=0)
        names = Names(THREE)
        given = Given(THREE, me, KEYS, names, memory, self.maps, None, clock, Options())
        self.exchange = make(given)
        self.agent = Agent(self.exchange, maps=self.maps, memory=memory, clock=clock)
        self.agent.pump()

    def step(self) -> None:
        self.agent.receive()
        if self.agent.coordinator.next_timer() <= self.clock():
            self.agent.timer()

    @property
    def answers(self) -> list[int]:
        if self.maps.deadline(GROUP) <= self.clock():
            return []
        states = self.maps.bucket_states(GROUP)[:BUCKETS]
        return [bucket for bucket, one in enumerate(states, 1) if one is BucketState.OWNED]


class Borrowers:
    """Three hosts whose buckets a server lends, by a line that was added to the table."""

    def __init__(self) -> None:
        self.now = 3600 * SECOND
        self.hosts = {name: Host(name, lambda: self.now, self._made) for name in NODES}

    def _made(self, given: Given) -> Exchange:
        kind = kinds.KINDS["borrowing"]
        with kind.open(given.config, given.me) as opened:
            return kind.begin(given, opened)

    def run(self, seconds: float) -> None:
        ends = self.now + int(seconds * SECOND)
        while self.now < ends:
            self.now += 10 * MILLISECOND
            for host in self.hosts.values():
                if host.runs:
                    host.step()
            answered = self.answered
            assert len(answered) == len(set(answered)), "two answer"

    @property
    def answered(self) -> list[int]:
        return sorted(bucket for host in self.hosts.values() for bucket in host.answers)


@pytest.fixture
def borrowers(monkeypatch: pytest.MonkeyPatch) -> Borrowers:
    kind = borrowing.kind(borrowing.Server(BUCKETS))
    monkeypatch.setitem(kinds.KINDS, "borrowing", kind)
    return Borrowers()


def test_a_third_one_serves_by_a_line_of_the_table(borrowers: Borrowers) -> None:
    borrowers.run(2)
    assert borrowers.answered == ALL
    assert all(len(host.answers) == BUCKETS // 3 for host in borrowers.hosts.values())


def test_it_dies_is_drained_and_told_to_leave_as_any(borrowers: Borrowers) -> None:
    borrowers.run(2)
    first, second, third = borrowers.hosts.values()
    first.runs = False
    borrowers.run(2)
    assert borrowers.answered == ALL
    assert not first.answers
    second.agent.do(Verb.DRAIN)
    borrowers.run(2)
    assert third.answers == borrowers.answered == ALL
    third.agent.abandon()
    assert not third.answers


def test_it_is_shown_as_any(borrowers: Borrowers) -> None:
    borrowers.run(2)
    host = borrowers.hosts["web2"]
    seen = report(THREE, host.agent, Health(()), now=borrowers.now)
    assert (seen.cluster, seen.node) == ("web", "web2")
    assert seen.owned == seen.held == host.answers
    assert [one.state for one in seen.buckets] == ["owned"] * 2
    assert seen.messages.sent > 10
    assert seen.messages.received.keys() == {"lent"}


def test_one_by_rules_has_its_buckets_for_ever_and_speaks_with_nobody() -> None:
    now = 0
    me = digest_of_name("web1")
    host = Host(
        "web1",
        lambda: now,
        lambda given: Exchange(Static(me, BUCKETS, mask_of([2, 5])), given.names),
    )
    assert host.answers == [2, 5]
    now = 1 << 62
    host.step()
    assert host.answers == [2, 5]
    assert report(THREE, host.agent, Health(()), now=now).held == [2, 5]
    with pytest.raises(RefusedError, match="web2 cannot be asked from here"):
        host.exchange.ask(digest_of_name("web2"), Verb.DRAIN)
    host.agent.abandon()
    assert host.answers == []


def test_a_file_asks_for_peers() -> None:
    assert kinds.kind_of(THREE) is kinds.KINDS["peer"]
