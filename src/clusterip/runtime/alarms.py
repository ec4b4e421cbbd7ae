"""What the log has of an alarm: what is wrong on this host, or between it and another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusterip.adapters.telling import tell
from clusterip.core.alarms import Alarms
from clusterip.core.buckets import buckets_of, spans
from clusterip.core.findings import Code, Finding
from clusterip.core.serving.actions import Alarm, AlarmKind
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.faults import COMPARE, DRAIN_FIRST, NO_SOURCE, PROCESSOR
from clusterip.runtime.others import Others

_OWNERS: Final = "see whether the hosts hear each other, and whether their clocks run right"


def say(
    alarm: Alarm, name_of: Callable[[int], str], others: Others, lease: int, *, now: int
) -> None:
    """Say an alarm of a node with leases of that length, ns; `name_of` gives the names of nodes."""
    found = finding(alarm, name_of, others, lease)
    about = name_of(alarm.node) if alarm.node else ""
    event = others.alarms.happened(found, about, now=now)
    if event is not None:
        tell(event)


def say_source(raised: Alarms, missing: bool, before: bool, *, now: int) -> None:
    """Say that no address is there to send messages from, or one again, where that changed."""
    if missing and not before:
        tell(raised.raised(NO_SOURCE, now=now))
    elif before and not missing:
        again = "this host has an address to send messages from again"
        tell(raised.over(Code.NO_SOURCE, "", again, now=now))


def finding(alarm: Alarm, name_of: Callable[[int], str], others: Others, lease: int) -> Finding:
    """Return what is wrong, as an alarm says."""
    name = name_of(alarm.node)
    match alarm.kind:
        case AlarmKind.TWO_OWNERS:
            held = spans(buckets_of(alarm.value))
            why = f"{name} says that it holds buckets {held}, which are held here"
            return Finding.of(Code.TWO_OWNERS, "TWO OWNERS", why, cure=_OWNERS)
        case AlarmKind.MISMATCH:
            return Finding.of(
                Code.OTHER_CONFIGURATION,
                f"{name} has another configuration (digest {alarm.value:016x})",
                "it does not serve with this node",
                cure=COMPARE,
            )
        case AlarmKind.STOOD_STILL:
            return Finding.of(
                Code.STOOD_STILL,
                f"this machine stood still for {alarm.value / SECOND:.2f} s, as the others' clocks"
                " show",
                "was it paused, saved or moved? What it held before, it asks for anew",
                cure=DRAIN_FIRST,
            )
        case AlarmKind.STARVED:
            return Finding.of(
                Code.STARVED,
                "starved",
                f"this daemon ran {alarm.value // MILLISECOND} ms late, of a lease of"
                f" {lease // MILLISECOND} ms",
                cure=PROCESSOR,
            )
        case AlarmKind.DEAF:
            return others.of_deaf(alarm.node, alarm.value)
