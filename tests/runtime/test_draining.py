"""Drains end by counts of connections in memory, which a thread takes at its leisure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

import msgspec
import pytest

from clusterip.adapters.diag import FakeSockets
from clusterip.core.address import Address
from clusterip.core.config.state import interface_state
from clusterip.core.packets.connections import Connection, count
from clusterip.core.units import SECOND
from clusterip.runtime.draining import at_leisure, watch_drains
from tests.runtime.agents import Host, sharing

STATE = interface_state(sharing().hosts[0].config, 2, "eth0")
VIP = IPv4Address("10.9.0.100")
SOME = [Connection(VIP, 80, IPv4Address("192.0.2.7"), port) for port in range(2300)]


class Rests(threading.Event):
    """Counts the rests, which take no time."""

    taken = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert 0 < timeout < 0.1
        self.taken += 1
        return self.is_set()


def test_counting_rests() -> None:
    rests = Rests()
    assert list(at_leisure(SOME, rests)) == SOME
    assert rests.taken == 4
    assert list(at_leisure(SOME[:499], rests)) == SOME[:499]
    assert rests.taken == 4


def test_counting_ends_early() -> None:
    rests = Rests()
    rests.set()
    assert list(at_leisure(SOME, rests)) == SOME[:500]


class Watched:
    """An agent one of whose buckets drains, watched until a condition is met."""

    def __init__(self, patience: float, sockets: FakeSockets) -> None:
        self.host: Host = sharing().hosts[0]
        self.patience, self.sockets = int(patience * SECOND), sockets
        self.some = asyncio.Event()
        self.told: list[int] = []
        (self.bucket,) = count(STATE, SOME[:1])
        self.drains = self.host.agent.drains
        self.drains.begin(self.bucket, now=0)

    def tell(self, verb: Callable[..., Any]) -> None:
        (bucket,) = verb.keywords["buckets"]  # type: ignore[attr-defined]
        self.told.append(bucket)
        self.drains.end(bucket)

    def until(self, condition: Callable[[], bool]) -> None:
        async def watch() -> None:
            work = asyncio.ensure_future(
                watch_drains(
                    STATE,
                    self.host.agent,
                    self.sockets,
                    self.some,
                    lambda: self.patience,
                    self.tell,
                )
            )
            async with asyncio.timeout(10):
                while not condition():
                    assert not work.done()
                    await asyncio.sleep(0.01)
            work.cancel()

        asyncio.run(watch())


def test_a_drain_ends_when_its_connections_have() -> None:
    watched = Watched(1e6, FakeSockets(SOME[:1]))
    watched.until(lambda: watched.drains.counts.get(watched.bucket) == 1)
    assert not watched.told
    watched.sockets.connections.clear()
    watched.until(lambda: watched.told == [watched.bucket])
    assert watched.drains.cut == 0


def test_one_that_begins_later_is_counted_when_that_is_said() -> None:
    watched = Watched(1e6, FakeSockets())
    watched.drains.end(watched.bucket)
    looked = 0

    def later() -> bool:
        nonlocal looked
        looked += 1
        if looked == 30:
            assert not watched.some.is_set()
            watched.drains.begin(watched.bucket, now=0)
            watched.some.set()
        return watched.told == [watched.bucket]

    watched.some.set()  # of one that ended meanwhile
    watched.until(later)
    assert looked > 30


def test_a_drain_is_over_in_time(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(0, FakeSockets(SOME[:1]))
    watched.until(lambda: watched.told == [watched.bucket])
    assert watched.drains.cut == 1
    assert f"1 connection of 1 bucket ({watched.bucket}) cut off" in caplog.text


class Refusing(FakeSockets):
    """Cannot be asked the first few times."""

    words: list[str] = msgspec.field(default_factory=list)

    def tcp(self, addresses: frozenset[Address]) -> Iterator[Connection]:
        if self.words:
            raise OSError(self.words.pop(0))
        return super().tcp(addresses)


def test_what_cannot_be_counted_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    words = ["too busy", "too busy", "no memory", "too busy"]
    watched = Watched(1e6, Refusing(words=words))
    watched.until(lambda: watched.told == [watched.bucket])
    said = "cannot count connections: "
    assert caplog.messages == [said + "too busy", said + "no memory", said + "too busy"]


def test_what_cannot_be_counted_is_over_in_time(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(0, Refusing(words=["no memory"]))
    watched.until(lambda: watched.told == [watched.bucket])
    assert f"1 bucket ({watched.bucket}) given up uncounted, after a drain of 0 s" in caplog.text


def test_what_could_be_counted_meanwhile_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    sockets = Refusing(SOME[:1], words=["no memory"])
    watched = Watched(1e6, sockets)
    watched.until(lambda: watched.drains.counts.get(watched.bucket) == 1)
    sockets.words.append("no memory")
    watched.until(lambda: len(caplog.messages) == 2)
    assert caplog.messages == ["cannot count connections: no memory"] * 2
