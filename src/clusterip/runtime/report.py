"""What this daemon tells of itself, with the alarms that are raised."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from clusterip.adapters.telling import tell
from clusterip.core import report as reports
from clusterip.core.config.model import Config
from clusterip.core.findings import Finding
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
    """Return what is to be seen of the daemon, but for the alarms that are raised."""
    wrong = agent.exchange.wrong(now=now)
    return _seen(config, agent, health, here, wrong, now)


def alarmed(
    config: Config, agent: Agent, health: Health, here: Here = NOWHERE, *, now: int
) -> Status:
    """Return the same with the alarms that are raised; those that are over are said to be."""
    wrong, alarms = agent.exchange.wrong(now=now), agent.exchange.raised
    said = _seen(config, agent, health, here, wrong, now)
    ours = ((one.what, one) for one in here.findings)
    for over in alarms.hold((*of_status(said), *ours, *wrong), now=now):
        tell(over)
    return msgspec.structs.replace(said, raised=alarms.now(now=now))


def _seen(
    config: Config,
    agent: Agent,
    health: Health,
    here: Here,
    wrong: list[tuple[str, Finding]],
    now: int,
) -> Status:
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
        wrong=[one for _, one in wrong],
        of_deaf=exchange.of_deaf,
    )
    here = here._replace(pid=os.getpid())
    return reports.report(config, agent.coordinator, facts, here, now=now)
