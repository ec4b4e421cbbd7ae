"""Asking a daemon over its real socket: the answers, the errors, the silence."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clusterip.adapters import control, controlserver, runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from clusterip.core.messages import request
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.messages.request import Drain, Reload, Show
from tests.adapters.controlled import ECHO, NAME, echo, impostor, raw, say, with_daemon
from tests.cli.answering import document, status
from tests.served import until


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def test_an_answer() -> None:
    assert with_daemon(lambda: control.ask(NAME, Reload())) == ECHO


def test_many_at_once_and_large_ones() -> None:
    said = document()
    said["nodes"] *= 1000

    async def large(raw: bytes, _: controlserver.Begin) -> Answer:
        await asyncio.sleep(0)
        return status({**said, "node": raw.decode()}) if b"show" in raw else Changes(["x"])

    def work() -> list[Answer]:
        with ThreadPoolExecutor(4) as threads:
            shown = threads.map(lambda _: control.ask(NAME, Show()), range(4))
            reloaded = threads.map(lambda _: control.ask(NAME, Reload()), range(4))
            return [*shown, *reloaded]

    seen = status({**said, "node": '{"verb": "show"}\n'})
    assert len(msgspec.json.encode(seen)) > 1 << 19
    assert with_daemon(work, large) == [seen] * 4 + [Changes(["x"])] * 4


def test_the_longest_name_of_a_cluster() -> None:
    name = "n" * 63
    assert with_daemon(lambda: control.ask(name, Reload()), cluster=name) == ECHO


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("no", "yes"), RefusedError),
        (SystemFaultError("no", "yes"), SystemFaultError),
        (UsageError("no", "yes"), UsageError),
    ],
)
def test_its_errors_are_raised_at_who_asked(
    error: RefusedError | SystemFaultError | UsageError, kind: type[Exception]
) -> None:
    async def refuse(_: bytes, _begin: controlserver.Begin) -> Answer:
        raise error

    def work() -> tuple[type, str, str]:
        with pytest.raises((RefusedError, SystemFaultError, UsageError)) as caught:
            control.ask(NAME, Reload())
        return type(caught.value), caught.value.message, caught.value.cure

    assert with_daemon(work, refuse) == (kind, error.message, error.cure)


def test_no_daemon() -> None:
    words = "no daemon of cluster web runs in this network namespace"
    with pytest.raises(SystemFaultError, match=words) as none:
        control.ask(NAME, Reload())
    assert "systemctl start clusterip" in none.value.cure
    # Nor is one that begins, with the socket that an earlier one left behind.
    with_daemon(lambda: None)
    with RunFiles(NAME).claimed(), runfiles.control_path(NAME) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.bind(f"{path}.old")
        Path(f"{path}.old").replace(path)
        with pytest.raises(
            SystemFaultError,
            match="is starting or ending, or lost its socket: no command can reach it",
        ):
            control.ask(NAME, Reload(), patience=0.3)
    # A later daemon takes the place of that.
    assert with_daemon(lambda: control.ask(NAME, Reload())) == ECHO


def test_a_silent_daemon() -> None:
    asked = threading.Event()
    with impostor(lambda one: (one.recv(100), asked.wait(10))):
        with pytest.raises(SystemFaultError, match="daemon of cluster web does not answer"):
            control.ask(NAME, Reload(), patience=0.1)
        with pytest.raises(SystemFaultError, match="does not answer") as looked:
            control.ask(NAME, Show(), patience=0.1)
        assert "is not done" not in looked.value.cure
        assert "systemctl status clusterip" in looked.value.cure
        asked.set()


def test_a_daemon_whom_too_many_ask() -> None:
    with (
        RunFiles(NAME).claimed(),
        runfiles.control_path(NAME) as path,
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as first,
        ThreadPoolExecutor(1) as thread,
    ):
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(SystemFaultError, match="does not answer") as caught:
            control.ask(NAME, Reload(), patience=0.1)
        assert "try again" in caught.value.cure
        # Who has patience waits for a place.
        answer = thread.submit(lambda: control.ask(NAME, Reload(), patience=10.0))
        first.close()
        for _ in range(2):
            one, _ = listener.accept()
            with one:
                if one.recv(100):
                    one.sendall(b'{"changes": ["a"]}\n')
        assert answer.result(10) == Changes(["a"])


@pytest.mark.parametrize("half", [b"", b'{"answer":', b'{"answer": 1}'])
def test_a_daemon_that_ends_before_it_answered(half: bytes) -> None:
    with (
        impostor(lambda one: say(one, half)),
        pytest.raises(SystemFaultError, match="ended before it answered"),
    ):
        control.ask(NAME, Reload())


def test_a_daemon_that_ends_before_it_read_all() -> None:
    with (
        impostor(lambda one: one.recv(1)),
        pytest.raises(SystemFaultError, match="ended before it answered"),
    ):
        control.ask(NAME, Drain("x" * (1 << 22)))


async def read(raw: bytes, _: controlserver.Begin) -> Answer:
    return Changes([type(request.read(raw)).__name__])


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", None),
        (b"\n", "this is no request: "),
        (b"{", "a request ends with its line: this one is cut off"),
        (b'{"verb": "show"}', "a request ends with its line: this one is cut off"),
        (b"not JSON\n", "this is no request: "),
        (b"\xff\xfe\n", "this is no request: "),
        (b"[]\n", "this is no request: "),
        (b"17\n", "this is no request: "),
        (b"null\n", "this is no request: "),
        (b'{"x":' + b"[" * 4000 + b"\n", "this is no request: "),
        (b"x" * (request.LONGEST + 1) + b"\n", "a request has at most 4096 bytes"),
    ],
)
def test_garbage_is_refused_and_does_no_harm(
    said: bytes, fault: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def work() -> tuple[bytes, Any]:
        return raw(said), control.ask(NAME, Reload())

    with caplog.at_level(logging.DEBUG):
        answer, after = with_daemon(work, read)
    if fault is None:
        assert answer == b""
    else:
        error = json.loads(answer)["error"]
        assert error["message"].startswith(fault)
        assert error["status"] == UsageError.exit_status
    assert after == Changes(["Reload"])
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_a_line_without_end_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> Any:
        raw(b"x" * (1 << 24))
        return control.ask(NAME, Reload())

    assert with_daemon(work, read) == Changes(["Reload"])
    assert caplog.messages == []


def test_one_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlserver, "PATIENCE_SECONDS", 0.2)

    async def large(_: bytes, _begin: controlserver.Begin) -> Answer:
        return Changes(["x" * (1 << 22)])

    def work() -> bytes:
        with (
            runfiles.control_path(NAME) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
        ):
            one.connect(path)
            one.sendall(b"{}\n")
            hung_up = select.poll()
            hung_up.register(one, select.POLLHUP)
            assert hung_up.poll(10_000)
            answer = b""
            while more := one.recv(1 << 16):
                answer += more
            return answer

    assert 0 < len(with_daemon(work, large)) < 1 << 22


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), TimeoutError(), MemoryError()])
def test_a_fault_of_the_handler_comes_to_the_loop(error: Exception) -> None:
    caught: list[BaseException] = []

    async def broken(_: bytes, _begin: controlserver.Begin) -> Answer:
        def keep(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            caught.append(context["exception"])

        asyncio.get_running_loop().set_exception_handler(keep)
        raise error

    assert with_daemon(lambda: raw(b"{}\n"), broken) == b""
    assert caught == [error]


def test_where_no_socket_can_be_made_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(controlserver, "_AGAIN_SECONDS", 0.05)
    with RunFiles(NAME).claimed():
        in_the_way = runfiles.folder_of(NAME) / "control"
        in_the_way.mkdir()

    def listens() -> bool:
        # A socket is there before anybody listens.
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(str(in_the_way)) == 0

    def work() -> Any:
        until(lambda: "no command can reach this daemon: " in caplog.text)
        in_the_way.rmdir()
        until(listens)
        return control.ask(NAME, Reload())

    assert with_daemon(work, read) == Changes(["Reload"])
    assert caplog.text.count("no command can reach") == 1


def test_it_ends_also_when_its_socket_goes_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controlserver, "_AGAIN_SECONDS", 0.05)

    async def served() -> None:
        over = asyncio.Event()

        def gone(*_: object) -> bool:
            over.set()
            return False

        monkeypatch.setattr(controlserver, "_is_there", gone)
        with RunFiles(NAME).claimed():
            async with controlserver.serving(NAME, echo):
                await over.wait()

    async def ended() -> bool:
        done, _ = await asyncio.wait({asyncio.ensure_future(served())}, timeout=5)
        return bool(done)

    assert asyncio.run(ended())


def test_one_that_says_nothing_holds_nobody_up() -> None:
    def work() -> Any:
        with (
            runfiles.control_path(NAME) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
        ):
            one.connect(path)
            return control.ask(NAME, Reload())

    assert with_daemon(work) == ECHO


def test_many_that_say_nothing_leave_descriptors_to_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(controlserver, "PATIENCE_SECONDS", 0.1)

    def work() -> tuple[int, Any]:
        with contextlib.ExitStack() as stack:
            path = stack.enter_context(runfiles.control_path(NAME))
            idle = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(40)]
            before = sum(1 for _ in Path("/proc/self/fd").iterdir())
            for one in idle:
                one.connect(path)
            # In vain: who waits is not answered before the others are given up.
            with pytest.raises(SystemFaultError, match="does not answer"):
                control.ask(NAME, Reload(), patience=0.1)
            most = sum(1 for _ in Path("/proc/self/fd").iterdir()) - before
            return most, control.ask(NAME, Reload(), patience=10.0)

    most, answer = with_daemon(work)
    assert most <= 6
    assert answer == ECHO


def test_one_that_reads_nothing_more_but_says_all_is_answered() -> None:
    async def begun(raw: bytes, begin: controlserver.Begin) -> Answer:
        begin()
        return await echo(raw, begin)

    answer = with_daemon(lambda: raw(b'{"verb": "drain"}\n'), begun)
    assert json.loads(answer) == {"changes": ['{"verb": "drain"}\n'], "warnings": []}


def test_the_wire() -> None:
    answer = with_daemon(lambda: raw(b'{"verb": "reload"}\n'))
    assert answer.endswith(b"\n")
    assert json.loads(answer) == {"changes": ECHO.changes, "warnings": []}


@pytest.mark.parametrize("said", [b'{"verb"', b'{"verb":"status"}\n'])
def test_whom_a_daemon_talks_to_when_it_ends_is_let_go(said: bytes) -> None:
    asked = threading.Event()

    async def never(_raw: bytes, _begin: controlserver.Begin) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        return Done()

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:

        def ask() -> None:
            with runfiles.control_path(NAME) as path:
                one.connect(path)
            one.sendall(said)
            # Who comes later was heard after it.
            if said.endswith(b"\n"):
                assert asked.wait(10)
            else:
                raw(b"")

        with_daemon(ask, never)
        # What is left over says so, and then a warning is an error.
        gc.collect()
        one.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""


@pytest.mark.parametrize(
    "said",
    [b"{}", b"[]", b"17", b"nothing", b'{"cluster": 3}', b'{"error": "no"}', b"[" * 100_000],
    ids=lambda said: str(said[:20]),
)
def test_an_answer_of_another_program(said: bytes) -> None:
    with (
        impostor(lambda one: say(one, said + b"\n")),
        pytest.raises(SystemFaultError, match="answers what this program does not know") as caught,
    ):
        control.ask(NAME, Show())
    assert "clusterip restart" in caught.value.cure


def test_an_error_of_a_newer_kind() -> None:
    fault = b'{"error": {"message": "no", "cure": "yes", "status": 9, "more": 1}}\n'
    with impostor(lambda one: say(one, fault)), pytest.raises(SystemFaultError) as caught:
        control.ask(NAME, Drain())
    assert (caught.value.message, caught.value.cure) == ("no", "yes")


def test_what_is_no_character_arrives() -> None:
    """As in the name of a file."""
    told = status({**document(), "file": "/etc/\udce9.toml"})

    async def show(_: bytes, _begin: controlserver.Begin) -> Answer:
        return told

    assert with_daemon(lambda: control.ask(NAME, Show()), show) == told
    asked = with_daemon(lambda: control.ask(NAME, Drain("w\udce9b")), read_whole)
    assert asked == Done()


async def read_whole(raw: bytes, _: controlserver.Begin) -> Answer:
    assert raw == b'{"verb": "drain", "node": "w\\udce9b"}\n'
    return Done()
