"""The health checks of this host, run for as long as the daemon does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from clusterip.adapters import checks
from clusterip.adapters.telling import tell
from clusterip.core.events import HealthChanged
from clusterip.core.health import AnyCheck, Health


class Checking:
    """Runs checks; `tell` is told whether the node is healthy after each result.

    `start` makes tasks, and sees to what they raise.
    """

    def __init__(
        self,
        tell: Callable[[bool, str], None],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        wanted: Sequence[AnyCheck],
        standing: dict[str, Any],
    ) -> None:
        """Have `wanted` as the checks there are; `standing` is what a predecessor left of them."""
        self.health = Health(wanted)
        self.health.restore(standing)
        self._checks = wanted
        self._running: Sequence[AnyCheck] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tell = tell
        self._start = start

    def adopt(self, wanted: Sequence[AnyCheck]) -> None:
        """Make these the checks there are; `run` brings them into force."""
        self.health.changed(wanted)
        self._checks = wanted

    def run(self) -> None:
        """Run the checks there are, and no others; nothing happens if just these run."""
        if self._running == self._checks:
            return
        self._cancel()
        self._running = self._checks
        self._tasks = [self._start(checks.repeat(check, self._result)) for check in self._checks]
        self._tell(self.health.healthy, "")

    def _result(self, name: str, outcome: checks.Outcome) -> None:
        was_healthy = self.health.healthy
        why = f"{name}: {outcome.detail}"
        if self.health.result(name, outcome.good, outcome.detail) and not was_healthy:
            # Nobody else says so: it is not healthy until all have shown that they are good.
            tell(HealthChanged(healthy=False, cause=why))
        self._tell(self.health.healthy, why)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._running = None

    async def stop(self) -> None:
        """Stop all, and what they started, until `run` is called again."""
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
