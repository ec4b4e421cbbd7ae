"""Asking a daemon while it is replaced, or while too many ask."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import control, runfiles, statusclient, statuspath, statusstream
from clusterip.adapters.memory import RunFiles
from clusterip.adapters.statusclient import Follower, StatusClient
from clusterip.adapters.statussocket import StatusSocket
from clusterip.adapters.statusstream import AsyncFollower
from clusterip.core.errors import SystemFaultError
from clusterip.core.leftovers import Handed
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Busy, Bye, Hello, Now, Seen
from clusterip.core.messages.following import Following
from clusterip.core.messages.request import Reload
from clusterip.runtime import choosing
from tests.adapters.controlled import ECHO, NAME, with_daemon
from tests.cli.answering import document, status

pytestmark = pytest.mark.root("a daemon's places")
HELLO = feed.encode(Hello(cluster="web", node="web1", pid=1, journal="a"))
SEEN = feed.encode(Seen(age_seconds=0.0, status=status(document())))
NOW = feed.encode(Now(seq=0, journal="a"))
HANDED = Handed(node=msgspec.Raw(b"{}"))
CURE = "name it"
_GAP_SECONDS = 0.3


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ci", dir="/tmp") as folder:
        monkeypatch.setattr(statuspath, "ROOT", Path(folder) / "s")
        monkeypatch.setattr(runfiles, "ROOT", tmp_path)
        yield statuspath.path_of("web")


@contextlib.contextmanager
def telling(path: Path, says: Callable[[int], tuple[bytes, ...]]) -> Iterator[None]:
    """Serve in place of a daemon, soon: `says` has the lines for the nth client."""

    def serve() -> None:
        time.sleep(_GAP_SECONDS)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(5)
            for count in range(3):
                with contextlib.suppress(TimeoutError), listener.accept()[0] as one:
                    first, *rest = says(count)
                    one.sendall(first)
                    if rest:
                        one.recv(1 << 12)
                        one.sendall(b"".join(rest))
                    if rest and rest[0] in (SEEN, NOW):
                        return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def leave() -> None:
    """Have a daemon end for a planned restart."""
    StatusSocket("web", None).end(b"brestart\n", wait=False)


def test_a_status_over_a_planned_restart(place: Path) -> None:
    leave()
    with telling(place, lambda _: (HELLO, SEEN)):
        assert choosing.watched(None, CURE) == "web"
        assert statusclient.status("web").node == "web1"
    leave()
    with telling(place, lambda _: (HELLO, SEEN)):
        assert asyncio.run(statusstream.status("web")).node == "web1"


def test_events_over_a_planned_restart(place: Path) -> None:
    leave()
    with telling(place, lambda _: (HELLO, NOW)):
        assert list(Follower("web", Following(follow=False))) == []

    async def read() -> int:
        return len([one async for one in AsyncFollower("web", Following(follow=False))])

    leave()
    with telling(place, lambda _: (HELLO, NOW)):
        assert asyncio.run(read()) == 0


def test_one_that_is_replaced_while_it_is_asked(place: Path) -> None:
    bye = feed.encode(Bye(why="restart"))
    leave()

    def says(count: int) -> tuple[bytes, ...]:
        if not count:
            statuspath.leave(place)
        return (HELLO, SEEN) if count else (HELLO, bye)

    with telling(place, says):
        assert statusclient.status("web").node == "web1"


def test_where_too_many_ask_it_is_asked_again(place: Path) -> None:
    busy = feed.encode(Busy(message="64 are served already", cure="try again"))

    def says(count: int) -> tuple[bytes, ...]:
        return (HELLO, SEEN) if count else (busy,)

    for ask in (statusclient.status, lambda name: asyncio.run(statusstream.status(name))):
        leave()
        with telling(place, says):
            assert ask("web").node == "web1"
    leave()
    with telling(place, lambda _: (busy,)):
        time.sleep(2 * _GAP_SECONDS)
        for _ in range(3):
            with pytest.raises(SystemFaultError, match="64 are served already"):
                StatusClient("web", waits=False)


def test_who_was_killed_is_not_waited_for(place: Path) -> None:
    one = socket.socket(socket.AF_UNIX)
    place.parent.mkdir(parents=True)
    one.bind(str(place))
    one.close()
    begun = time.monotonic()
    with pytest.raises(SystemFaultError, match="no daemon of cluster web"):
        statusclient.status("web")
    with pytest.raises(SystemFaultError, match="no daemon"):
        choosing.watched(None, CURE)
    assert time.monotonic() < begun + 1


def test_a_successor_that_never_comes_is_waited_for_so_long(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave()
    with pytest.raises(SystemFaultError, match="no daemon of cluster web"):
        statusclient.status("web", patience=0.2)
    monkeypatch.setattr(statuspath, "_RESTART_SECONDS", 0.0)
    assert statuspath.clusters() == ()


def test_what_is_asked_for_over_a_planned_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = RunFiles(NAME)
    with memory.claimed():
        memory.put_handover(HANDED)
    assert choosing.chosen(None) == NAME

    def come() -> None:
        time.sleep(_GAP_SECONDS)

        def taken() -> None:
            assert memory.take_handover() is not None
            asked.join()

        with_daemon(taken)

    answers: list[object] = []
    asked = threading.Thread(target=lambda: answers.append(control.ask(NAME, Reload())))
    asked.start()
    come()
    assert answers[0] == ECHO

    with memory.claimed():
        memory.put_handover(HANDED)
    with pytest.raises(SystemFaultError, match="cluster web"):
        control.ask(NAME, Reload(), patience=0.2)
    monkeypatch.setattr(runfiles, "RESTART_SECONDS", 0.0)
    assert runfiles.running() == ()
