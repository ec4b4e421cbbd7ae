"""What this daemon tells of itself, with the alarms that are raised."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from clusterip.adapters.telling import tell
from clusterip.core import report as reports
from clusterip.core.config.model import Config
from clusterip.core.health import Health
from clusterip.core.report import Facts, Here
from clusterip.core.status import Status
from clusterip.runtime.agent import Agent
from clusterip.runtime.faults import of_status

NOWHERE: Final = Here()
"""A process that says nothing of itself."""


def report(
    config: Config, agent: Agent, health: Health, here: Here = NOWHERE, *, now: int
) -> Status:
    """Return what is to be seen of the daemon."""
    exchange = agent.exchange
    facts = Facts(
        name=agent.name,
        health=health,
        drains=agent.drains,
        tenure=agent.tenure,
        traffic=exchange.traffic,
        happened=agent.alarms,
        ends_by=agent.ends_by,
        refused_restarts=agent.refused_restarts,
        waiting_for=exchange.waiting_for,
        wrong=[one for _, one in exchange.wrong(now=now)],
        of_deaf=exchange.of_deaf,
    )
    here = here._replace(pid=os.getpid())
    return reports.report(config, agent.coordinator, facts, here, now=now)


def alarmed(said: Status, agent: Agent, here: Here = NOWHERE, *, now: int) -> Status:
    """Return it with the alarms that are raised; those that are over are said to be."""
    alarms = agent.exchange.raised
    ours = ((one.what, one) for one in here.findings)
    for over in alarms.hold((*of_status(said), *ours, *agent.exchange.wrong(now=now)), now=now):
        tell(over)
    return msgspec.structs.replace(said, raised=alarms.now(now=now))
