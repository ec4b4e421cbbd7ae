"""Ending as told to: draining first where the file says so, then the last word."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from clusterip.adapters import systemd
from clusterip.adapters.clock import boottime
from clusterip.core.config import Config, Stop
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from clusterip.core.messages.message import buckets_of, spans
from clusterip.runtime.member import Member

_LOOK_SECONDS: Final = 0.125
"""From one look at whether a stop has drained to the next."""
_log = logging.getLogger("clusterip")


class Stopping:
    """The end of a member; `after` does some work and what follows from it."""

    def __init__(self, member: Member, after: Callable[[Callable[[], object]], None]) -> None:
        self._member = member
        self._after = after
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Drain no longer."""
        self._hurry.set()

    async def stop(self, config: Config, *, serves: bool) -> None:
        """Release all and say so; a node that serves drains first, if the file says so.

        No restart may be under way.
        """
        systemd.notify("STOPPING=1")
        member, node = self._member, self._member.node
        if config.stop is Stop.DRAIN and serves:
            _log.info("stopping: draining first; a second signal stops at once")
            self._tell(Node.drain)
            await self._drained_out(config)
        _log.info("stopping")
        last = node.sequence
        self._tell(Node.leave)
        while node.sequence == last:
            await asyncio.sleep(node.timing.gap / SECOND)
            self._after(member.pump)
        member.repeat()

    def _tell(self, verb: Callable[..., object]) -> None:
        self._after(lambda: self._member.tell(verb))

    async def _drained_out(self, config: Config) -> None:
        """Wait until nothing is held here, or nobody is there to take it, or time is up."""
        node = self._member.node
        # The connections of a bucket have their time from when it was given away.
        ends = boottime() + config.drain_timeout + 2 * node.lasting + node.flows.watch
        while node.kernel.open | node.kernel.draining and not self._hurry.is_set():
            taking = any(one.weight and not one.leaving for one in node.living.values())
            if not (node.kernel.draining or taking):
                _log.warning("nobody is there to take the buckets")
                return
            if boottime() > ends:
                left = spans(buckets_of(node.kernel.open | node.kernel.draining))
                _log.warning("the drain took too long, buckets left: %s", left)
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _LOOK_SECONDS)
