"""Health checks by real programs, the well-behaved and the others; what is cancelled is ended."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clusterip.adapters.checks import Outcome, probe, repeat
from clusterip.core.units import MILLISECOND, SECOND
from tests.adapters.checked import command, http, listener, once, shell, silent

pytestmark = pytest.mark.usefixtures("no_leak")


def test_exit_status() -> None:
    assert once(command("/bin/true")) == Outcome(True, "exit status 0")
    assert once(command("/bin/false")) == Outcome(False, "exit status 1")
    assert once(shell("kill -9 $$")) == Outcome(False, "killed by signal 9")


@pytest.mark.parametrize(
    ("script", "good", "detail"),
    [
        ("echo fine; echo more", True, "fine"),
        ("printf fine", True, "fine"),
        ("echo wrong >&2; exit 3", False, "exit status 3: wrong"),
        ("printf '\\n\\n  late\\n'", True, "late"),
        ("printf 'a\\001\\377b\\tc'", True, "a\\x01\\xffb\\tc"),
        ("printf '\\300\\200'", True, "\\xc0\\x80"),
        ("cat; echo end of input", True, "end of input"),
    ],
)
def test_output(script: str, good: bool, detail: str) -> None:
    assert once(shell(script)) == Outcome(good, detail)


def test_the_environment_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "hello")
    assert once(shell("echo $GREETING")) == Outcome(True, "hello")


def test_much_output() -> None:
    outcome = once(shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 4"))
    assert not outcome.good
    assert outcome.detail.startswith("exit status 4: xxxx")
    assert once(command("/usr/bin/yes", timeout=200 * MILLISECOND)).good is False


def test_what_cannot_be_started(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    told = "cannot be started: "
    assert once(command(plain)) == Outcome(False, f"{told}Permission denied")
    plain.chmod(stat.S_IRWXU)
    plain.write_text("#!/no/such\n")
    assert once(command(plain)) == Outcome(False, f"{told}No such file or directory")
    plain.write_text("?")
    assert once(command(plain)) == Outcome(False, f"{told}Exec format error")
    assert once(command(tmp_path / "none")) == Outcome(False, f"{told}No such file or directory")
    assert not once(command("/bin/echo", "x" * 200_000)).good


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_ends(file: Path, count: int) -> None:
    """Check that the processes whose numbers a script wrote down are gone, at once or nearly."""
    numbers = [int(word) for word in file.read_text().split()]
    assert len(numbers) == count
    until = time.monotonic() + 2
    while any(map(is_alive, numbers)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(is_alive, numbers))


def test_timeout_ends_the_children_too(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"trap '' TERM INT; sleep 60 & echo $$ $! > {file}; wait; sleep 60"
    outcome = once(shell(script, timeout=400 * MILLISECOND))
    assert outcome == Outcome(False, "not finished within 400ms")
    assert_ends(file, 2)


def test_what_a_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    # The child holds the output open, which nobody is to wait for.
    assert once(shell(f"sleep 60 & echo $! > {file}; echo ok")) == Outcome(True, "ok")
    assert_ends(file, 1)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("again", [False, True])
def test_a_cancelled_command_is_ended(tmp_path: Path, again: bool) -> None:
    file = tmp_path / "pids"
    check = shell(f"sleep 60 & echo $$ $! > {file}; wait", timeout=60 * SECOND)

    async def cancel() -> None:
        work: Awaitable[object] = repeat(check, lambda *_: None) if again else probe(check)
        task = asyncio.ensure_future(work)
        await until(lambda: file.exists() and len(file.read_text().split()) == 2)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1

    asyncio.run(cancel())
    assert_ends(file, 2)


def test_a_command_cancelled_at_any_time(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    file.touch()
    check = shell(f"echo $$ >> {file}; sleep 60", timeout=60 * SECOND)

    async def cancel() -> None:
        for wait in range(20):
            task = asyncio.ensure_future(probe(check))
            await asyncio.sleep(wait / 4000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert_ends(file, len(file.read_text().split()))


def test_a_cancelled_request_is_ended() -> None:
    async def cancel(port: int) -> None:
        task = asyncio.ensure_future(probe(http(port, timeout=60 * SECOND)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with listener(silent) as port:
        began = time.monotonic()
        asyncio.run(cancel(port))
    assert time.monotonic() - began < 2
