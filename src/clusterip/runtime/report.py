"""What a daemon tells of itself and its cluster: names in place of ids, seconds for times."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import Final, NamedTuple

import msgspec

from clusterip import __version__
from clusterip.adapters.telling import tell
from clusterip.core import status
from clusterip.core.buckets import buckets_of
from clusterip.core.config import Config, hash_digest, voters
from clusterip.core.findings import Finding
from clusterip.core.health import Health
from clusterip.core.messages.message import digest_of_name
from clusterip.core.serving.status import Standing
from clusterip.core.status import Status
from clusterip.core.units import SECOND
from clusterip.runtime.agent import Agent
from clusterip.runtime.faults import of_status


class Here(NamedTuple):
    """What only the process knows: its file, since when it runs, ns, and its interface.

    `waiting_for` is what the voters of the file wait for; `findings` is what is wrong with the
    interface and the addresses of this host.
    """

    file: str = ""
    started: int = 0
    waiting_for: str = ""
    witness: bool = False
    in_control: bool = True
    findings: tuple[Finding, ...] = ()


NOWHERE: Final = Here()
"""A process that says nothing of itself."""


def report(
    config: Config, agent: Agent, health: Health, here: Here = NOWHERE, *, now: int
) -> Status:
    """Return what is to be seen of the daemon."""
    drains = agent.drains
    node, ends = agent.coordinator, agent.ends_by
    seen = node.snapshot(now=now)

    def name(identity: int) -> str:
        return agent.names.get(identity) or f"{identity:016x}"

    witnesses = {digest_of_name(one.name) for one in config.nodes if one.witness}

    return Status(
        cluster=config.name,
        node=name(node.me),
        incarnation=f"{seen.incarnation:016x}",
        profile=config.profile.value,
        quorum=config.quorum.value,
        total=config.buckets,
        announce_count=config.announce_count,
        announce_seconds=_seconds(config.announce_interval),
        digest=f"{hash_digest(config):016x}",
        vips=[str(vip.address) for vip in config.vips],
        owned=seen.owned,
        taking=seen.taking,
        held=sorted([*seen.owned, *seen.taking]),
        asking=seen.asking,
        draining=[
            status.Drain(
                bucket=bucket,
                seconds=_seconds(now - drains.since.get(bucket, now)),
                connections=drains.counts.get(bucket),
            )
            for bucket in seen.draining
        ],
        cut_connections=drains.cut,
        drain_timeout_seconds=_seconds(config.drain_timeout),
        lease_seconds=_seconds(seen.lease),
        grants_in_seconds=_seconds(seen.grants_in),
        leaving=seen.leaving,
        restarting=seen.restarting,
        stopping_seconds=None if ends is None else _seconds(max(0, ends - now)),
        refused_restarts=agent.refused_restarts,
        without_source=agent.without_source,
        alone=seen.alone,
        voters=list(voters(config)),
        voters_changing=seen.settling,
        version=seen.version,
        held_down_by=[name(one) for one in seen.held_down_by],
        healthy=health.healthy,
        buckets=[
            status.Bucket(
                bucket=bucket,
                state=one.state,
                since_seconds=_seconds(now - one.since),
                came_from=name(one.of) if one.of else None,
            )
            for bucket, one in sorted(agent.tenure.had.items())
        ],
        checks=[
            status.Check(name=one.name, good=one.good, in_a_row=one.in_a_row, detail=one.detail)
            for one in health.reports()
        ],
        nodes=sorted(
            (
                _node(one, name, witnesses, agent.receptions.sealed_with.get(one.node))
                for one in seen.nodes
            ),
            key=lambda one: one.name,
        ),
        deaf={
            name(one.node): agent.others.of_deaf(one.node, len(one.hears))
            for one in seen.nodes
            if one.deaf
        },
        faults=[*here.findings, *agent.others.findings(now=now)],
        alarms=status.Alarms(
            two_owners=agent.alarms["two_owners"],
            mismatch=agent.alarms["mismatch"],
            starved=agent.alarms["starved"],
            stood_still=agent.alarms["stood_still"],
            deaf=agent.alarms["deaf"],
        ),
        messages=status.Messages(
            sent=agent.sent, bytes=agent.message_bytes, received=dict(agent.received)
        ),
        rejected=[
            status.Rejected(
                sender=name(one.sender) if one.sender else None,
                source=one.source,
                reason=one.reason,
                count=one.count,
                last_seconds=_seconds(now - one.last),
            )
            for one in agent.receptions.rejections.latest()
        ],
        program=__version__,
        file=here.file,
        pid=os.getpid(),
        started=here.started,
        witness=here.witness,
        in_control=here.in_control,
        voters_waiting_for=here.waiting_for,
    )


def alarmed(said: Status, agent: Agent, here: Here = NOWHERE, *, now: int) -> Status:
    """Return it with the alarms that are raised; those that are over are said to be."""
    alarms = agent.others.alarms
    ours = ((one.what, one) for one in here.findings)
    for over in alarms.hold((*of_status(said), *ours, *agent.others.wrong(now=now)), now=now):
        tell(over)
    return msgspec.structs.replace(said, raised=alarms.now(now=now))


def _node(
    one: Standing, name: Callable[[int], str], witnesses: Container[int], key: int | None
) -> status.Node:
    return status.Node(
        name=name(one.node),
        me=one.me,
        witness=one.node in witnesses,
        heard_seconds=None if one.heard is None else _seconds(one.heard),
        alive=one.alive,
        agrees=one.agrees,
        healthy=one.healthy,
        ready=one.ready,
        leaving=one.leaving,
        weight=one.weight,
        speaks=one.speaks,
        hears=sorted(map(name, one.hears)),
        held=one.held,
        draining=one.draining,
        votes={name(grantee): buckets for grantee, buckets in one.grants.items()},
        fair_share=round(one.fair_share, 3),
        key=key,
        keys=[number - 1 for number in buckets_of(one.keys)] if one.keys else None,
    )


def _seconds(time: int) -> float:
    return round(time / SECOND, 3)
