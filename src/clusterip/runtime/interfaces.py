"""An interface with its VIPs as `clusterip show --json` has it, whether a daemon runs it or not."""

from __future__ import annotations

from collections.abc import Mapping

from clusterip.adapters.abi import NO_DEADLINE, Reason
from clusterip.adapters.clock import boottime
from clusterip.core import status
from clusterip.core.findings import Finding
from clusterip.core.packets.state import Entry, Group
from clusterip.core.rules import render
from clusterip.runtime.rule_table import InterfaceView, held


def seen(view: InterfaceView, faults: list[Finding]) -> status.Interface:
    """Return what is to be seen of an interface; `faults` is what is wrong with it."""
    state = view.state
    return status.Interface(
        interface=view.name,
        ifindex=state.index,
        cluster=state.cluster or None,
        tc=view.attached.tc,
        xdp=status.Xdp(mode=state.xdp.value, attached=view.attached.xdp, note=state.xdp_note),
        faults=faults,
        warnings=list(view.lacking),
        vips=[_vip(view, group) for group in state.groups],
        rules=[
            status.Rule(
                rule=rule(view, entry),
                action=entry.rule.action.value,
                bucket=entry.rule.bucket or None,
                packets=sum(view.rules[entry.slot].packets.values()),
                bytes=view.rules[entry.slot].bytes,
                verdicts=_named(view.rules[entry.slot].packets),
            )
            for entry in state.entries
        ],
        verdicts=_named(totals(view)),
    )


def rule(view: InterfaceView, entry: Entry) -> str:
    """Return a rule of the interface as text."""
    return render.rule_line(entry.rule, by_daemon=bool(view.state.cluster))


def totals(view: InterfaceView) -> dict[Reason, int]:
    """Return how many packets had each verdict, whatever their rule."""
    counts = (view.unruled, *view.rules.values())
    return {reason: sum(count.packets[reason] for count in counts) for reason in Reason}


def lease(deadline: int) -> float | None:
    """Return the seconds left until a deadline, None for no deadline."""
    if deadline == NO_DEADLINE:
        return None
    return max(0.0, round((deadline - boottime()) / 1e9, 3))


def _named(packets: Mapping[Reason, int]) -> dict[str, int]:
    return {reason.word: count for reason, count in packets.items()}


def _vip(view: InterfaceView, group: Group) -> status.Vip:
    sharing = group.sharing
    traffic = view.traffic[group.index][: sharing.total]
    states = view.groups[group.index][: sharing.total]
    left = lease(view.deadlines[group.index])
    return status.Vip(
        vip=str(group.vip),
        hashmode=sharing.mode.value,
        clustermac=sharing.mac.upper,
        total_nodes=sharing.total,
        hash_init=sharing.hash_init,
        held=list(held(view.groups[group.index], group)) if left != 0 else [],
        lease_seconds=left,
        buckets=[
            status.Traffic(bucket=at, state=state.name.lower(), packets=packets, bytes=size)
            for at, (state, (packets, size)) in enumerate(
                zip(states, traffic, strict=True), start=1
            )
        ],
    )
