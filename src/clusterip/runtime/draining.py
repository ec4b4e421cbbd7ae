"""Ending the drain of each bucket whose connections are gone, or had their time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from clusterip.adapters.diag import DiagSockets
from clusterip.core import connections
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import SECOND
from clusterip.core.state import InterfaceState
from clusterip.runtime.member import Member

_COUNT_SECONDS: Final = 0.25
"""From one count of the connections of draining buckets to the next."""
_log = logging.getLogger("clusterip")


async def watch_drains(
    state: InterfaceState,
    member: Member,
    patience: Callable[[], int],
    tell: Callable[[Callable[..., object]], None],
) -> None:
    """Count, for ever: a drain lasts `patience` ns at most; `tell` brings a verb to the node."""
    vips = frozenset(group.vip for group in state.groups)
    sockets, drains = DiagSockets(), member.drains

    def count() -> dict[int, int]:
        return connections.count(state, sockets.tcp(vips))

    while True:
        await asyncio.sleep(_COUNT_SECONDS)
        if not drains.since:
            continue
        began = time.monotonic_ns()
        try:
            counts = await asyncio.to_thread(count)
        except OSError as error:
            _log.warning("cannot count connections: %s", error)
            continue
        now, most, kept = time.monotonic_ns(), patience(), member.node.flows.kept
        over = drains.counted(counts, kept, began=began, timeout=most, now=now)
        for bucket, cut in over:
            if cut:
                words = "bucket %d: %d connections are cut off, after a drain of %d s"
                _log.warning(words, bucket, cut, most // SECOND)
        if over:
            tell(partial(Node.drained, buckets=[one.bucket for one in over]))
