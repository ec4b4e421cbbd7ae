"""Reminding machines that may have stood still of what the others did meanwhile."""

from __future__ import annotations

import asyncio

from clusterip.core.lease import contact
from clusterip.core.units import SECOND
from clusterip.runtime.agent import Agent


async def remind_silent(agent: Agent) -> None:
    """Say the last message often, for ever, to who is silent and may hold buckets.

    Its kernel takes it from there: bpf/beat.h.
    """
    while True:
        node = agent.node
        silent = contact.to_remind(node.state)
        if silent:
            agent.remind(silent)
        wait = node.state.timing.reminder if silent else node.state.timing.interval
        await asyncio.sleep(wait / SECOND)
