"""The client for Python, beside a status socket and a daemon that answers: see tests/lan, too."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clusterip.adapters import runfiles, statuspath
from clusterip.adapters.clock import boottime
from clusterip.api import AsyncClient, Client, RefusedError, SystemFaultError, UsageError
from clusterip.core.events import Noted
from clusterip.runtime import asking
from tests.cli.answering import Answering, answering, document, status
from tests.cli.test_events import Telling

needs_root = pytest.mark.root("asking a daemon")


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    # A path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="ci", dir="/tmp") as folder:
        monkeypatch.setattr(statuspath, "ROOT", Path(folder) / "s")
        one = Telling()
        for number in range(1, 5):
            one.tell(Noted(what=f"line {number}"))
        yield one
        one.socket.end()


async def listed(client: AsyncClient, position: str = "", last: int | None = None) -> list[str]:
    async with client.events(position, last=last) as events:
        return [entry.text async for entry in events]


def test_events_that_there_are(telling: Telling) -> None:
    with Client().events() as events:
        assert [entry.text for entry in events] == ["line 1", "line 2", "line 3", "line 4"]
        position = events.position
    assert position == "a:4"
    assert [entry.seq for entry in Client("web").events(last=2)] == [3, 4]
    assert [entry.seq for entry in Client("web").events("a:3")] == [4]
    assert [entry.seq for entry in Client("web").events("lost:3")] == [1, 2, 3, 4]
    assert asyncio.run(listed(AsyncClient(), last=1)) == ["line 4"]
    assert asyncio.run(listed(AsyncClient("web"), "a:2")) == ["line 3", "line 4"]
    telling.tell(Noted(what="line 5"))
    assert [entry.text for entry in Client().events(position)] == ["line 5"]


def test_events_to_the_end_of_the_daemon(telling: Telling) -> None:
    def later() -> None:
        time.sleep(0.5)
        telling.tell(Noted(what="line 5"))
        telling.say(b"bstop\n")

    async def followed() -> list[int]:
        async with AsyncClient().events(last=1, follow=True) as events:
            return [entry.seq async for entry in events]

    thread = threading.Thread(target=later)
    thread.start()
    both: list[list[int]] = []
    other = threading.Thread(target=lambda: both.append(asyncio.run(followed())))
    other.start()
    with Client().events(last=1, follow=True) as events:
        both.append([entry.seq for entry in events])
    thread.join()
    other.join()
    assert both == [[4, 5], [4, 5]]


def test_events_are_left_before_their_end(telling: Telling) -> None:
    async def first() -> str:
        async with AsyncClient().events(follow=True) as events:
            async for entry in events:
                return entry.text
        return ""

    assert asyncio.run(first()) == "line 1"
    with Client().events(follow=True) as events:
        assert next(events).text == "line 1"
    assert list(events) == []
    assert telling.journal.last == 4


def test_what_happens_within_the_context_is_told(telling: Telling) -> None:
    """However soon it happens: the context begins with the connection, not with the loop."""

    async def looping(number: int) -> str:
        async with AsyncClient().events(last=0, follow=True) as events:
            telling.tell(Noted(what=f"in a loop {number}"))
            return (await asyncio.wait_for(anext(events), 5)).text

    for number in range(20):
        with Client().events(last=0, follow=True) as events:
            telling.tell(Noted(what=f"plain {number}"))
            # Else this waits for ever.
            ends = threading.Timer(5, events.close)
            ends.start()
            assert next(events).text == f"plain {number}"
            ends.cancel()
        assert asyncio.run(looping(number)) == f"in a loop {number}"


def test_a_slow_reader_of_a_full_journal(telling: Telling) -> None:
    """It has all in order; what it was too slow for is a gap, and the newest are there."""
    for number in range(5, 1501):
        telling.tell(Noted(what=f"line {number} " + 1000 * "x"))
    with Client().events(follow=True) as events:
        seqs = [next(events).seq for _ in range(100)]
        assert seqs == list(range(seqs[0], seqs[0] + 100))
        for number in range(1501, 4001):
            telling.tell(Noted(what=f"line {number} " + 1000 * "x"))
        while seqs[-1] < 4000:
            seqs.append(next(events).seq)
    assert seqs == sorted(set(seqs))
    assert seqs[-900:] == list(range(3101, 4001))


def test_who_waits_may_be_cancelled_and_loses_nothing(telling: Telling) -> None:
    async def heard() -> str:
        async with AsyncClient().events(last=0, follow=True) as events:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(events), 0.05)
            telling.tell(Noted(what="line 5"))
            return (await anext(events)).text

    assert asyncio.run(heard()) == "line 5"


def test_they_are_closed_by_another_one(telling: Telling) -> None:
    """By another thread, or another task, while somebody waits for the next; and twice."""

    async def looping() -> list[str]:
        async with AsyncClient().events(last=1, follow=True) as events:
            asyncio.get_running_loop().call_later(
                0.3, lambda: tasks.append(asyncio.ensure_future(events.aclose()))
            )
            heard = [entry.text async for entry in events]
            await events.aclose()
        return heard

    tasks: list[asyncio.Future[None]] = []
    assert asyncio.run(asyncio.wait_for(looping(), 5)) == ["line 4"]
    with Client().events(last=1, follow=True) as events:
        thread = threading.Timer(0.3, events.close)
        thread.start()
        assert [entry.text for entry in events] == ["line 4"]
        thread.join()
        events.close()
        assert list(events) == []
    with Client().events(follow=True) as events:
        for _ in events:
            events.close()
    assert telling.socket.is_in_place()


def test_a_loop_that_is_left_keeps_nothing_open(telling: Telling) -> None:
    async def looping() -> None:
        async with AsyncClient().events(follow=True) as events:
            async for _ in events:
                break

    def opened() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    for _ in range(5):
        for _ in Client().events(follow=True):
            break
        asyncio.run(looping())
    assert opened() == before
    assert telling.journal.last == 4


def test_the_status(telling: Telling) -> None:
    made, done = msgspec.json.encode(status(document())), threading.Event()

    def later() -> None:
        while not done.wait(0.05):
            if telling.socket.wanted():
                telling.say(b"s%d %b\n" % (boottime(), made))

    thread = threading.Thread(target=later)
    thread.start()
    try:
        assert Client().status() == status(document())
        assert asyncio.run(AsyncClient("web").status()) == status(document())
    finally:
        done.set()
        thread.join()


def test_events_go_on_with_the_successor(telling: Telling) -> None:
    def later() -> None:
        time.sleep(1)
        telling.socket.end(b"brestart\n")
        time.sleep(0.3)
        one = Telling("b")
        one.tell(Noted(what="begun"))
        time.sleep(1)
        one.socket.end(b"bstop\n")

    async def followed() -> None:
        async with AsyncClient("web").events(last=1, follow=True) as events:
            looping.extend([entry.text async for entry in events])
            positions.append(events.position)

    looping: list[str] = []
    positions: list[str] = []
    threads = [
        threading.Thread(target=later),
        threading.Thread(target=asyncio.run, args=(followed(),)),
    ]
    for thread in threads:
        thread.start()
    with Client("web").events(last=1, follow=True) as events:
        assert [entry.text for entry in events] == ["line 4", "begun"]
        positions.append(events.position)
    for thread in threads:
        thread.join()
    assert looping == ["line 4", "begun"]
    assert positions == ["b:1", "b:1"]


def test_no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(statuspath, "ROOT", tmp_path)
    for cluster, words in (
        (None, "no daemon runs in this network namespace"),
        ("web", "no daemon of cluster web runs in this network namespace"),
    ):
        with pytest.raises(SystemFaultError, match=words):
            Client(cluster).status()
        with pytest.raises(SystemFaultError, match=words):
            list(Client(cluster).events())
        with pytest.raises(SystemFaultError, match=words):
            asyncio.run(AsyncClient(cluster).status())


def test_which_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statuspath, "clusters", lambda: ("mail", "web"))
    with pytest.raises(RefusedError, match="several clusters run here: mail, web"):
        Client().status()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    monkeypatch.setattr(asking, "_POLL_SECONDS", 0.01)
    with answering() as one:
        yield one


@needs_root
def test_what_changes_something(daemon: Answering) -> None:
    daemon.will("drain", "web2", leaving=True)
    daemon.will("undrain", "web2", leaving=False)
    daemon.will("weight", weight=7)
    daemon.changes = ["weight of web1: 100 -> 7"]
    client, looping = Client(), AsyncClient("web")
    assert client.drain("web2").leaving
    assert not asyncio.run(looping.undrain("web2")).leaving
    assert client.weight(7).weight == asyncio.run(looping.weight(7)).weight == 7
    assert client.reload().changes == asyncio.run(looping.reload()).changes == daemon.changes
    verbs = [one["verb"] for one in daemon.asked]
    assert verbs == ["drain", "undrain", "weight", "weight", "reload", "reload"]


@needs_root
def test_what_is_refused(daemon: Answering) -> None:
    daemon.refuses("drain", RefusedError("web3 is a witness: it holds nothing", "another"))
    with pytest.raises(RefusedError, match="web3 is a witness"):
        Client().drain("web3")
    with pytest.raises(RefusedError, match="web3 is a witness"):
        asyncio.run(AsyncClient().drain("web3"))


@pytest.mark.parametrize("value", [-1, 256, "x", "7", 7.0, True, None, b"7"])
def test_what_is_no_weight(value: Any) -> None:
    with pytest.raises(UsageError, match="is not a weight") as raised:
        Client("web").weight(value)
    assert raised.value.cure.endswith("0..255")
    with pytest.raises(UsageError, match="is not a weight"):
        asyncio.run(AsyncClient("web").weight(value))


VIP, SOURCE = "10.9.0.100", "192.0.2.7"
WRONG: list[Callable[[Any], object]] = [
    lambda client: client.which("x", SOURCE),
    lambda client: client.which(5, SOURCE),
    lambda client: client.which(VIP, None),
    lambda client: client.which(VIP, b"1234"),
    lambda client: client.which(VIP, SOURCE, source_port=65536),
    lambda client: client.which(VIP, SOURCE, destination_port="80"),
    lambda client: client.which(VIP, SOURCE, protocol="tpc"),
    lambda client: client.which(VIP, SOURCE, protocol=256),
    lambda client: client.which(VIP, SOURCE, protocol=None),
    lambda client: client.events("nowhere"),
    lambda client: client.events(position=3),
    lambda client: client.events(None),
    lambda client: client.events(last=-1),
    lambda client: client.events(last="2"),
    lambda client: client.events(last=1.0),
    lambda client: client.drain(5),
    lambda client: client.undrain(b"web1"),
    lambda client: client.drain_and_wait(["web1"]),
    lambda client: client.weight(5, 5),
    lambda _: Client(5),  # type: ignore[arg-type]
    lambda _: Client("../web").status(),
]


@pytest.mark.parametrize("call", WRONG)
def test_what_is_of_a_wrong_kind_is_said_at_once(call: Callable[[Any], object]) -> None:
    async def looping() -> None:
        said = call(AsyncClient("web"))
        if asyncio.iscoroutine(said):
            await said

    with pytest.raises(UsageError) as raised:
        call(Client("web"))
    assert raised.value.cure
    with pytest.raises(UsageError):
        asyncio.run(looping())


def test_who_is_not_root_is_told_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemFaultError, match="this needs root") as raised:
        Client("web").drain()
    assert raised.value.exit_status == 4
