"""Ending as told to: draining first where the file says so, then the last word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from clusterip.adapters import systemd
from clusterip.adapters.clock import boottime
from clusterip.adapters.telling import tell
from clusterip.core import events
from clusterip.core.buckets import buckets_of, spans
from clusterip.core.config.model import Config, Stop
from clusterip.core.units import SECOND
from clusterip.runtime.agent import Agent

_LOOK_SECONDS: Final = 0.125
"""From one look at whether a stop has drained to the next."""


class Stopping:
    """The end of an agent; `after` does some work and what follows from it."""

    def __init__(self, agent: Agent, after: Callable[[Callable[[], object]], None]) -> None:
        self._agent = agent
        self._after = after
        self._hurry = asyncio.Event()
        self._drains = False

    def hurry(self) -> None:
        """Drain no longer."""
        self._hurry.set()
        self._agent.ends_by = boottime()

    def begin(self, config: Config, *, serves: bool) -> None:
        """Take nothing back from now on: `stop` is to follow, with a drain if the file says so.

        Only a node that serves drains.
        """
        node, lasts = self._agent.coordinator, 0
        self._drains = serves and config.stop is Stop.DRAIN
        if self._drains:
            # The connections of a bucket have their time from when it was given away.
            lasts = config.drain_timeout + node.pace.giving
        self._agent.ends_by = boottime() + lasts
        node.own.ends = True

    async def stop(self) -> None:
        """Release all and say so, after a drain where there is to be one.

        No restart may be under way.
        """
        systemd.notify("STOPPING=1")
        agent, node = self._agent, self._agent.coordinator
        if self._drains:
            tell(events.Stopping(drains=True))
            self._tell(node.drain)
            await self._drained_out()
        tell(events.Stopping())
        self._tell(node.leave)
        while not node.ended:
            await asyncio.sleep(node.pace.gap / SECOND)
            self._after(agent.pump)
        agent.exchange.repeat()

    def _tell(self, verb: Callable[..., object]) -> None:
        self._after(lambda: self._agent.tell(verb))

    async def _drained_out(self) -> None:
        """Wait until nothing is held here, or nobody is there to take it, or time is up."""
        node, ends = self._agent.coordinator, self._agent.ends_by
        while node.kernel.open | node.kernel.draining and not self._hurry.is_set():
            taking = any(one.weight and not one.leaving for one in node.others.values())
            if not (node.kernel.draining or taking):
                left = list(buckets_of(node.kernel.open))
                tell(events.StopCutShort(cause="nobody is there to take the buckets", buckets=left))
                return
            if ends is not None and boottime() > ends:
                left = list(buckets_of(node.kernel.open | node.kernel.draining))
                cause = f"the drain took too long, buckets left: {spans(left)}"
                tell(events.StopCutShort(cause=cause, buckets=left))
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _LOOK_SECONDS)
