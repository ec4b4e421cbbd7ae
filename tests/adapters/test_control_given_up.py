"""Who asks a daemon and gives up: what was asked is not done later, and nothing else is said."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path

import pytest

from clusterip.adapters import control, controlserver, runfiles
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.messages.request import Drain, Reload, Weight
from tests.adapters.controlled import NAME, impostor, with_daemon
from tests.served import until


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


@pytest.mark.parametrize("by", ["closing", "ending"])
def test_what_nobody_waits_for_is_not_done(by: str, caplog: pytest.LogCaptureFixture) -> None:
    """As of a daemon that was stopped: what was asked meanwhile is not done when it goes on."""
    goes_on = threading.Event()
    came, done = threading.Event(), []

    async def stopped(raw: bytes, begin: controlserver.Begin) -> Answer:
        came.set()
        await asyncio.to_thread(goes_on.wait, 10)
        begin()
        done.append(json.loads(raw)["verb"])
        return Done()

    def work() -> None:
        if by == "closing":
            with (
                runfiles.control_path(NAME) as path,
                socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
            ):
                one.connect(path)
                one.sendall(b'{"verb": "drain"}\n')
                assert came.wait(10)
        else:
            with pytest.raises(SystemFaultError, match="does not answer") as caught:
                control.ask(NAME, Drain(), patience=0.1)
            assert "what was asked is not done, nor will be" in caught.value.cure
        goes_on.set()
        until(lambda: "drain" in caplog.text)
        assert control.ask(NAME, Weight(value=3)) == Done()

    with_daemon(work, stopped)
    assert done == ["weight"]
    assert caplog.messages == ['not done, for who asked has given up: {"verb": "drain"}']


def test_what_was_begun_is_not_called_not_done() -> None:
    over = threading.Event()

    async def slow(_: bytes, begin: controlserver.Begin) -> Answer:
        begin()
        await asyncio.to_thread(over.wait, 10)
        return Done()

    def work() -> None:
        with pytest.raises(SystemFaultError, match="began with what was asked, and") as caught:
            control.ask(NAME, Drain(), patience=0.2)
        over.set()
        assert "clusterip show" in caught.value.cure

    with_daemon(work, slow)


def test_an_answer_that_comes_as_the_asker_gives_up_counts() -> None:
    # All of it came, and was not read yet.
    ends = threading.Event()

    def talk(one: socket.socket) -> None:
        one.recv(100)
        one.sendall(b' {"changes": ["a"]}\n')
        ends.wait(10)

    with impostor(talk):
        assert control.ask(NAME, Reload(), patience=5.0) == Changes(["a"])
        ends.set()
