"""Reminding machines that may have stood still of what the others did meanwhile."""

from __future__ import annotations

import asyncio

from clusterip.core.lease.timing import SECOND
from clusterip.runtime.member import Member


async def remind_silent(member: Member) -> None:
    """Say the last message often, for ever, while somebody is silent who may hold buckets.

    Its kernel takes it from there: bpf/beat.h.
    """
    while True:
        node = member.node
        reminding = node.reminding
        if reminding:
            member.remind()
        wait = node.timing.reminder if reminding else node.timing.interval
        await asyncio.sleep(wait / SECOND)
