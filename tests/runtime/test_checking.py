"""Real checks, run for as long as a daemon would: what is told of them, and what they leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from clusterip.core.config.model import CommandCheck
from clusterip.core.units import MILLISECOND
from clusterip.runtime.checking import Checking


def check(name: str, *argv: object, fall: int = 2, rise: int = 2) -> CommandCheck:
    return CommandCheck(
        name=name,
        interval=30 * MILLISECOND,
        timeout=20 * MILLISECOND if argv[0] == "/bin/sleep" else 5000 * MILLISECOND,
        rise=rise,
        fall=fall,
        argv=tuple(map(str, argv)),
    )


def exists(path: Path, name: str = "file") -> CommandCheck:
    return check(name, "/usr/bin/test", "-e", path)


class Told:
    """What was told, in order."""

    def __init__(self) -> None:
        self.every: list[tuple[bool, str]] = []
        self.checking: Checking

    def adopt(self, *wanted: CommandCheck) -> None:
        """Have these checks: from the beginning, or from now on."""
        if hasattr(self, "checking"):
            self.checking.adopt(wanted)
            return

        def tell(healthy: bool, why: str) -> None:
            self.every.append((healthy, why))

        self.checking = Checking(tell, asyncio.ensure_future, wanted, {})

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - of a process, too
                await asyncio.sleep(0.005)

    async def last(self, healthy: bool) -> str:
        """Wait until that was told last; return why."""
        await self.until(lambda: bool(self.every) and self.every[-1][0] is healthy)
        return self.every[-1][1]


def run(work: Callable[[Told], Coroutine[Any, Any, None]]) -> None:
    """Do some work with checks, and stop them."""

    async def whole() -> None:
        told = Told()
        try:
            await work(told)
        finally:
            await told.checking.stop()
            count = len(told.every)
            await asyncio.sleep(0.1)
            assert len(told.every) == count, "a check goes on"
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""


def test_without_checks_all_is_well() -> None:
    async def work(told: Told) -> None:
        told.adopt()
        told.checking.run()
        assert told.every == [(True, "")]

    run(work)


def test_a_check_decides(tmp_path: Path) -> None:
    async def work(told: Told) -> None:
        file = tmp_path / "file"
        told.adopt(exists(file))
        assert not told.checking.health.healthy
        told.checking.run()
        assert told.every == [(False, "")]
        file.touch()
        assert await told.last(healthy=True) == "file: exit status 0"
        file.unlink()
        assert await told.last(healthy=False) == "file: exit status 1"
        # Not at the first bad result, but at the second in a row.
        (report,) = told.checking.health.reports()
        assert report.in_a_row >= 2

    run(work)


def test_all_must_be_good(tmp_path: Path) -> None:
    async def work(told: Told) -> None:
        told.adopt(check("good", "/bin/true"), exists(tmp_path / "file"))
        told.checking.run()
        await told.until(lambda: len(told.every) > 6)
        assert not any(healthy for healthy, _ in told.every)
        assert {one.name: one.good for one in told.checking.health.reports()} == {
            "good": True,
            "file": False,
        }

    run(work)


def test_nothing_runs_before_it_is_told_to(tmp_path: Path) -> None:
    async def work(told: Told) -> None:
        told.adopt(check("touch", "/usr/bin/touch", tmp_path / "ran"))
        await asyncio.sleep(0.1)
        assert told.every == []
        assert not (tmp_path / "ran").exists()

    run(work)


def test_what_did_not_change_keeps_its_standing(tmp_path: Path) -> None:
    async def work(told: Told) -> None:
        told.adopt(check("good", "/bin/true"))
        told.checking.run()
        await told.last(healthy=True)
        told.every.clear()
        # One that is new passes for good until its first result.
        told.adopt(check("good", "/bin/true"), exists(tmp_path / "file"))
        told.checking.run()
        assert told.every[0] == (True, "")
        await told.last(healthy=False)
        told.adopt(check("good", "/bin/true"))
        told.checking.run()
        assert told.every[-1] == (True, "")

    run(work)


def test_to_run_again_what_runs_changes_nothing() -> None:
    async def work(told: Told) -> None:
        told.adopt(check("good", "/bin/true"))
        told.checking.run()
        tasks = asyncio.all_tasks()
        told.adopt(check("good", "/bin/true"))
        told.checking.run()
        assert asyncio.all_tasks() == tasks

    run(work)


def test_stopped_and_run_again(tmp_path: Path) -> None:
    async def work(told: Told) -> None:
        file = tmp_path / "file"
        file.touch()
        told.adopt(exists(file))
        told.checking.run()
        await told.last(healthy=True)
        await told.checking.stop()
        file.unlink()
        await asyncio.sleep(0.1)
        assert told.every[-1][0]
        told.checking.run()
        await told.last(healthy=False)

    run(work)


def test_what_a_check_started_ends_with_it() -> None:
    async def work(told: Told) -> None:
        hanging = CommandCheck(
            name="hang",
            interval=10_000 * MILLISECOND,
            timeout=10_000 * MILLISECOND,
            rise=1,
            fall=1,
            argv=("/bin/sleep", "1000"),
        )
        told.adopt(hanging)
        told.checking.run()
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        tasks = Path("/proc/self/task")

        def started() -> bool:
            found = (one / "children" for one in tasks.iterdir())
            return any(one.exists() and one.read_text() for one in (children, *found))

        await told.until(started)
        await told.checking.stop()
        await told.until(lambda: not started())

    run(work)


def test_a_check_that_is_bad_from_the_start_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"

    async def work(told: Told) -> None:
        told.adopt(exists(file))
        told.checking.run()
        await told.until(lambda: len(told.every) > 4)
        assert caplog.messages == ["UNHEALTHY (file: exit status 1)"]
        file.touch()
        await told.last(True)
        file.unlink()
        # From now on whoever is told says so.
        await told.last(False)
        assert len(caplog.messages) == 1

    run(work)
