"""Ending the drain of each bucket whose connections are gone, or had their time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from clusterip.adapters.clock import boottime
from clusterip.adapters.diag import Sockets
from clusterip.core.buckets import counted
from clusterip.core.packets import connections
from clusterip.core.packets.connections import Connection
from clusterip.core.packets.state import InterfaceState
from clusterip.core.units import SECOND
from clusterip.core.words import amount
from clusterip.runtime.agent import Agent

_COUNT_SECONDS: Final = 0.25
"""From one count of the connections of draining buckets to the next."""
_AT_ONCE: Final = 500
"""How many connections are counted in a row: 5 ms of work, more or less."""
_REST_SECONDS: Final = 0.02
_log = logging.getLogger("clusterip")


async def watch_drains(
    state: InterfaceState,
    agent: Agent,
    sockets: Sockets,
    patience: Callable[[], int],
    tell: Callable[[Callable[..., object]], None],
) -> None:
    """Count, for ever: a drain lasts `patience` ns at most; `tell` brings a verb to the node."""
    vips = frozenset(group.vip for group in state.groups)
    drains, ended, fault = agent.drains, threading.Event(), ""

    def count() -> dict[int, int]:
        return connections.count(state, at_leisure(sockets.tcp(vips), ended))

    try:
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            if not drains.since:
                continue
            began, counts = boottime(), None
            try:
                counts = await asyncio.to_thread(count)
                fault = ""
            except (OSError, RuntimeError) as error:  # the latter: no thread can be started
                if fault != str(error):
                    _log.warning("cannot count connections: %s", error)
                fault = str(error)
            now, most, kept = boottime(), patience(), agent.coordinator.flows.kept
            over = drains.counted(counts, kept, began=began, timeout=most, now=now)
            cut = {bucket: count for bucket, count in over if count}
            if cut:
                words = "%s of %s cut off, after a drain of %d s"
                _log.warning(
                    words,
                    amount(sum(cut.values()), "connection"),
                    counted(sorted(cut)),
                    most // SECOND,
                )
            elif over and counts is None:
                words = "%s given up uncounted, after a drain of %d s"
                given_up = counted(sorted(one.bucket for one in over))
                _log.warning(words, given_up, most // SECOND)
            if over:
                tell(partial(agent.coordinator.drained, buckets=[one.bucket for one in over]))
    finally:
        ended.set()


def at_leisure(some: Iterable[Connection], ended: threading.Event) -> Iterator[Connection]:
    """Yield all of them, with a rest now and then, until `ended` is set.

    The threads of a daemon go before all other programs: a host with 100,000 connections would
    have a processor less while it drains.
    """
    for number, one in enumerate(some, start=1):
        yield one
        if number % _AT_ONCE == 0 and ended.wait(_REST_SECONDS):
            return
