"""Asking a daemon over its real socket: the answers, the errors, the silence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import control, runfiles
from clusterip.adapters.runfiles import RunFiles
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError

NAME = "web"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"asked": request}


def with_daemon(
    work: Callable[[], Any], handler: control.Handler = echo, cluster: str = NAME
) -> Any:
    """Return what `work` does while a daemon of the cluster answers."""

    async def run() -> Any:
        async with control.serving(cluster, handler):
            return await asyncio.to_thread(work)

    with RunFiles(cluster).claimed():
        return asyncio.run(run())


def raw(said: bytes) -> bytes:
    """Say something to the daemon and nothing more; return all that it answers."""
    with (
        runfiles.control_path(NAME) as path,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
    ):
        one.connect(path)
        with contextlib.suppress(BrokenPipeError):
            one.sendall(said)
            one.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := one.recv(1 << 16):
                answer += more
        return answer


def say(one: socket.socket, words: bytes) -> None:
    """Hear a request, or a part of it, and answer."""
    one.recv(100)
    one.sendall(words)


@contextlib.contextmanager
def impostor(talk: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listen in place of the daemon; `talk` is given the one connection that is made."""
    with (
        RunFiles(NAME).claimed(),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        ThreadPoolExecutor(1) as thread,
    ):
        with runfiles.control_path(NAME) as path:
            listener.bind(path)
        listener.listen()

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                talk(connection)

        done = thread.submit(once)
        yield
        done.result(10)


def test_an_answer() -> None:
    request = {"verb": "show", "value": 3}
    assert with_daemon(lambda: control.ask(NAME, request)) == {"asked": request}


def test_many_at_once_and_large_ones() -> None:
    async def large(request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"answer": request["number"], "text": "x" * (1 << 20)}

    def work() -> list[int]:
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda n: control.ask(NAME, {"number": n}), range(8))
            return [one["answer"] for one in answers]

    assert with_daemon(work, large) == list(range(8))


def test_the_longest_name_of_a_cluster() -> None:
    name = "n" * 63
    assert with_daemon(lambda: control.ask(name, {}), cluster=name) == {"asked": {}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("no", "yes"), RefusedError),
        (SystemFaultError("no", "yes"), SystemFaultError),
        (UsageError("no", "yes"), UsageError),
        (RefusedError("no"), RefusedError),
    ],
)
def test_its_errors_are_raised_at_who_asked(
    error: RefusedError | SystemFaultError | UsageError, kind: type[Exception]
) -> None:
    async def refuse(request: dict[str, Any]) -> dict[str, Any]:
        raise error

    def work() -> tuple[type, str, str]:
        with pytest.raises((RefusedError, SystemFaultError, UsageError)) as caught:
            control.ask(NAME, {"verb": "show"})
        return type(caught.value), caught.value.message, caught.value.cure

    assert with_daemon(work, refuse) == (kind, error.message, error.cure)


def test_no_daemon() -> None:
    words = "no daemon of cluster web runs in this network namespace"
    with pytest.raises(SystemFaultError, match=words) as none:
        control.ask(NAME, {})
    assert "systemctl start clusterip" in none.value.cure
    # Neither is one there when its socket was left behind.
    with_daemon(lambda: None)
    with RunFiles(NAME).claimed(), runfiles.control_path(NAME) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.bind(f"{path}.old")
        Path(f"{path}.old").replace(path)
        with pytest.raises(SystemFaultError, match=words):
            control.ask(NAME, {})
    # A later daemon takes the place of that.
    assert with_daemon(lambda: control.ask(NAME, {})) == {"asked": {}}


def test_a_silent_daemon() -> None:
    asked = threading.Event()
    with impostor(lambda one: (one.recv(100), asked.wait(10))):
        with pytest.raises(SystemFaultError, match="daemon of cluster web does not answer"):
            control.ask(NAME, {}, patience=0.1)
        asked.set()


@pytest.mark.parametrize("half", [b"", b'{"answer":', b'{"answer": 1}'])
def test_a_daemon_that_ends_before_it_answered(half: bytes) -> None:
    with (
        impostor(lambda one: say(one, half)),
        pytest.raises(SystemFaultError, match="ended before it answered"),
    ):
        control.ask(NAME, {})


def test_a_daemon_that_ends_before_it_read_all() -> None:
    with (
        impostor(lambda one: one.recv(1)),
        pytest.raises(SystemFaultError, match="ended before it answered"),
    ):
        control.ask(NAME, {"text": "x" * (1 << 22)})


@pytest.mark.parametrize(
    "said",
    [b"", b"\n", b"{", b"not JSON\n", b"\xff\xfe\n", b"[]\n", b"17\n", b"null\n", b"x" * (1 << 17)],
)
def test_garbage_is_not_answered_and_does_no_harm(
    said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> tuple[bytes, Any]:
        return raw(said), control.ask(NAME, {"verb": "show"})

    with caplog.at_level(logging.DEBUG):
        assert with_daemon(work) == (b"", {"asked": {"verb": "show"}})
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_one_that_says_nothing_holds_nobody_up() -> None:
    def work() -> Any:
        with (
            runfiles.control_path(NAME) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
        ):
            one.connect(path)
            return control.ask(NAME, {"verb": "show"})

    assert with_daemon(work) == {"asked": {"verb": "show"}}


def test_the_wire() -> None:
    answer = with_daemon(lambda: raw(b'{"verb": "show"}\n'))
    assert answer.endswith(b"\n")
    assert json.loads(answer) == {"asked": {"verb": "show"}}
