"""What a daemon tells of itself and its cluster, whatever coordinator it has.

It is made from what that one shows of itself, with names in place of ids and seconds for times.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

from clusterip import __version__
from clusterip.core import status
from clusterip.core.buckets import buckets_of
from clusterip.core.config.digest import hash_digest
from clusterip.core.config.model import Config, voters
from clusterip.core.findings import Finding
from clusterip.core.health import Health
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.traffic import Traffic
from clusterip.core.serving.coordinator import Coordinator
from clusterip.core.serving.drains import Drains
from clusterip.core.serving.status import Standing
from clusterip.core.serving.tenure import Tenure
from clusterip.core.status import Status
from clusterip.core.units import SECOND


class Here(NamedTuple):
    """What only the process knows: its file, since when it runs, ns, and its interface.

    `findings` is what is wrong with the interface and the addresses of this host.
    """

    file: str = ""
    started: int = 0
    witness: bool = False
    in_control: bool = True
    findings: tuple[Finding, ...] = ()
    pid: int = 0


class Facts(NamedTuple):
    """What a daemon knows beside its coordinator. Times are CLOCK_BOOTTIME, ns.

    `name` gives the names of nodes, `happened` how often there was an alarm of each kind, `ends_by`
    when it ends, that was told to stop; `waiting_for` is what the voters of the file wait for,
    `wrong` what is wrong with the other nodes, and `of_deaf` says of a node, that hears so many,
    that it does not hear this one.
    """

    name: Callable[[int], str]
    health: Health
    drains: Drains
    tenure: Tenure
    traffic: Traffic
    happened: Mapping[str, int]
    ends_by: int | None
    refused_restarts: int
    waiting_for: str
    wrong: Sequence[Finding]
    of_deaf: Callable[[int, int], Finding]


def report(
    config: Config, coordinator: Coordinator[Any, Any], facts: Facts, here: Here, *, now: int
) -> Status:
    """Return what is to be seen of the daemon."""
    drains, health, traffic = facts.drains, facts.health, facts.traffic
    name, ends = _Names(facts.name).__getitem__, facts.ends_by
    seen = coordinator.snapshot(now=now)
    witnesses = {digest_of_name(one.name) for one in config.nodes if one.witness}

    return Status(
        cluster=config.name,
        node=name(coordinator.me),
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
        refused_restarts=facts.refused_restarts,
        without_source=traffic.without_source,
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
            for bucket, one in sorted(facts.tenure.had.items())
        ],
        checks=[
            status.Check(name=one.name, good=one.good, in_a_row=one.in_a_row, detail=one.detail)
            for one in health.reports()
        ],
        nodes=sorted(
            (_node(one, name, witnesses, traffic.sealed_with.get(one.node)) for one in seen.nodes),
            key=lambda one: one.name,
        ),
        deaf={
            name(one.node): facts.of_deaf(one.node, len(one.hears))
            for one in seen.nodes
            if one.deaf
        },
        faults=[*here.findings, *facts.wrong],
        alarms=status.Alarms(
            two_owners=facts.happened["two_owners"] + facts.happened["both_served"],
            mismatch=facts.happened["mismatch"],
            starved=facts.happened["starved"],
            stood_still=facts.happened["stood_still"],
            deaf=facts.happened["deaf"],
        ),
        messages=status.Messages(
            sent=traffic.sent, bytes=traffic.message_bytes, received=dict(traffic.received)
        ),
        rejected=[
            status.Rejected(
                sender=name(one.sender) if one.sender else None,
                source=one.source,
                reason=one.reason,
                count=one.count,
                last_seconds=_seconds(now - one.last),
            )
            for one in traffic.rejections.latest()
        ],
        program=__version__,
        file=here.file,
        pid=here.pid,
        started=here.started,
        witness=here.witness,
        in_control=here.in_control,
        voters_waiting_for=facts.waiting_for,
    )


class _Names(dict[int, str]):
    """Names by id, each asked for once: of 32 nodes each hears 31."""

    def __init__(self, name: Callable[[int], str]) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, node: int) -> str:
        found = self[node] = self._name(node)
        return found


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
        stopping=one.ends,
        restarting=one.restarts,
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
