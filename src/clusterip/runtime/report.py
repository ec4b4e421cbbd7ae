"""What a daemon tells `clusterip show`: plain values, names in place of ids, seconds for times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clusterip.core.config import Config, hash_digest, voters
from clusterip.core.findings import plain
from clusterip.core.health import Health
from clusterip.core.lease.status import Standing, status
from clusterip.core.lease.timing import SECOND
from clusterip.runtime.member import Member


def report(config: Config, member: Member, health: Health, *, now: int) -> dict[str, Any]:
    """Return what is to be seen of the daemon."""
    drains = member.drains
    node, ends = member.node, member.ends_by
    seen = status(node, now=now)

    def name(identity: int) -> str:
        return member.names.get(identity, f"{identity:016x}")

    return {
        "cluster": config.name,
        "node": name(node.me),
        "boot": f"{seen.boot:016x}",
        "profile": config.profile.value,
        "quorum": config.quorum.value,
        "total": config.buckets,
        "announce_count": config.announce_count,
        "announce_seconds": _seconds(config.announce_interval),
        "digest": f"{hash_digest(config):016x}",
        "vips": [str(vip.address) for vip in config.vips],
        "owned": seen.owned,
        "taking": seen.taking,
        "held": sorted([*seen.owned, *seen.taking]),
        "asking": seen.asking,
        "draining": [
            {
                "bucket": bucket,
                "seconds": _seconds(now - drains.since.get(bucket, now)),
                "connections": drains.counts.get(bucket),
            }
            for bucket in seen.draining
        ],
        "cut_connections": drains.cut,
        "drain_timeout_seconds": _seconds(config.drain_timeout),
        "lease_seconds": _seconds(seen.lease),
        "grants_in_seconds": _seconds(max(0, node.voter.mute_until - now)),
        "leaving": seen.leaving,
        "restarting": seen.restarting,
        "stopping_seconds": None if ends is None else _seconds(max(0, ends - now)),
        "refused_restarts": member.refused_restarts,
        "without_source": member.without_source,
        "alone": seen.alone,
        "voters": list(voters(config)),
        "voters_changing": seen.settling,
        "version": seen.version,
        "held_down_by": [name(one) for one in seen.held_down_by],
        "healthy": health.healthy,
        "checks": [
            {"name": one.name, "good": one.good, "in_a_row": one.in_a_row, "detail": one.detail}
            for one in health.reports()
        ],
        "nodes": sorted((_node(one, name) for one in seen.nodes), key=lambda one: one["name"]),
        "deaf": {
            name(one.node): found
            for one in seen.nodes
            if one.deaf
            for found in plain([member.others.of_deaf(one.node, len(one.hears))])
        },
        "faults": plain(member.others.findings(now=now)),
        "alarms": {
            kind: member.alarms.get(kind, 0)
            for kind in ("two_owners", "mismatch", "starved", "stood_still", "deaf")
        },
        "messages": {
            "sent": member.sent,
            "bytes": member.message_bytes,
            "received": dict(member.received),
        },
    }


def _node(one: Standing, name: Callable[[int], str]) -> dict[str, Any]:
    return {
        "name": name(one.node),
        "me": one.me,
        "heard_seconds": None if one.heard is None else _seconds(one.heard),
        "alive": one.alive,
        "agrees": one.agrees,
        "healthy": one.healthy,
        "ready": one.ready,
        "leaving": one.leaving,
        "weight": one.weight,
        "speaks": list(one.speaks) if one.speaks else None,
        "hears": sorted(name(other) for other in one.hears),
        "held": one.held,
        "draining": one.draining,
        "votes": {name(grantee): buckets for grantee, buckets in one.grants.items()},
    }


def _seconds(time: int) -> float:
    return round(time / SECOND, 3)
