"""Ending the drain of each bucket whose connections are gone, or had their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from clusterip.adapters.clock import boottime
from clusterip.adapters.diag import Sockets
from clusterip.adapters.telling import note
from clusterip.adapters.telling import tell as tell_of
from clusterip.core.events import ConnectionsCut, Level
from clusterip.core.packets import connections
from clusterip.core.packets.connections import Connection
from clusterip.core.packets.state import InterfaceState
from clusterip.core.units import SECOND
from clusterip.runtime.agent import Agent

_COUNT_SECONDS: Final = 0.25
"""From one count of the connections of draining buckets to the next."""
_AT_ONCE: Final = 500
"""How many connections are counted in a row: 5 ms of work, more or less."""
_REST_SECONDS: Final = 0.02


async def watch_drains(
    state: InterfaceState,
    agent: Agent,
    sockets: Sockets,
    some: asyncio.Event,
    patience: Callable[[], int],
    tell: Callable[[Callable[..., object]], None],
) -> None:
    """Count, for ever: a drain lasts `patience` ns at most; `tell` brings a verb to the node.

    `some` is set by whoever sees that there are drains; while there are none nothing is done.
    """
    vips = frozenset(group.vip for group in state.groups)
    drains, ended, fault = agent.drains, threading.Event(), ""

    def count() -> dict[int, int]:
        return connections.count(state, at_leisure(sockets.tcp(vips), ended))

    try:
        while True:
            if not drains.since:
                some.clear()
                await some.wait()
            await asyncio.sleep(_COUNT_SECONDS)
            began, counts = boottime(), None
            try:
                counts = await asyncio.to_thread(count)
                fault = ""
            except (OSError, RuntimeError) as error:  # the latter: no thread can be started
                if fault != str(error):
                    note(f"cannot count connections: {error}", Level.WARNING)
                fault = str(error)
            now, most, kept = boottime(), patience(), agent.coordinator.flows.kept
            over = drains.counted(counts, kept, began=began, timeout=most, now=now)
            cut = {bucket: count for bucket, count in over if count}
            if cut:
                buckets, seconds = sorted(cut), most // SECOND
                many = sum(cut.values())
                tell_of(ConnectionsCut(buckets=buckets, connections=many, seconds=seconds))
            elif over and counts is None:
                buckets, seconds = sorted(one.bucket for one in over), most // SECOND
                tell_of(ConnectionsCut(buckets=buckets, connections=None, seconds=seconds))
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
