"""All that looks each second looks in the same moment."""

from __future__ import annotations

import asyncio

import pytest

from clusterip.adapters import seconds
from clusterip.adapters.seconds import next_second, until_next_second


def test_it_is_the_same_moment_for_all() -> None:
    async def woken() -> list[float]:
        loop = asyncio.get_running_loop()

        async def after(wait: float) -> float:
            await asyncio.sleep(wait)
            at = next_second()
            await until_next_second()
            assert loop.time() >= at - 0.001
            return at

        return list(await asyncio.gather(after(0), after(0.001), after(0.002)))

    first, *others = asyncio.run(woken())
    # Where the second ended meanwhile it is the next one.
    assert all(
        min((at - first) % 1, (first - at) % 1) == pytest.approx(0, abs=1e-6) for at in others
    )


@pytest.mark.parametrize("passed", [0.0, 0.3, 0.985, 0.995, 0.9999999])
def test_it_is_neither_at_once_nor_late(passed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> float:
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr(seconds, "_BEGAN", now - 7 - passed)
        return next_second() - now

    assert 0.009 < asyncio.run(wait()) < 1.02
