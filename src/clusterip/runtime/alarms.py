"""What the log has of an alarm: what is wrong on this host, or between it and another."""

from __future__ import annotations

from typing import Final

from clusterip.adapters.telling import tell
from clusterip.core.alarms import Alarms
from clusterip.core.buckets import buckets_of, spans
from clusterip.core.findings import Code, Finding
from clusterip.core.serving.actions import Alarm, AlarmKind
from clusterip.core.units import MILLISECOND, SECOND
from clusterip.runtime.coordinators.exchange import Exchange
from clusterip.runtime.faults import COMPARE, DRAIN_FIRST, NO_SOURCE, PROCESSOR

_OWNERS: Final = "see whether the hosts hear each other, and whether their clocks run right"


def say(alarm: Alarm, exchange: Exchange, *, now: int) -> None:
    """Say an alarm of the coordinator of that exchange."""
    found = finding(alarm, exchange)
    about = exchange.names(alarm.node) if alarm.node else ""
    event = exchange.raised.happened(found, about, now=now)
    if event is not None:
        tell(event)


def say_source(raised: Alarms, missing: bool, before: bool, *, now: int) -> None:
    """Say that no address is there to send messages from, or one again, where that changed."""
    if missing and not before:
        tell(raised.raised(NO_SOURCE, now=now))
    elif before and not missing:
        again = "this host has an address to send messages from again"
        tell(raised.over(Code.NO_SOURCE, "", again, now=now))


def finding(alarm: Alarm, exchange: Exchange) -> Finding:
    """Return what is wrong, as an alarm says."""
    name, lease = exchange.names(alarm.node), exchange.coordinator.pace.lease
    match alarm.kind:
        case AlarmKind.TWO_OWNERS:
            held = spans(buckets_of(alarm.value))
            why = f"{name} says that it holds buckets {held}, which are held here"
            return Finding.of(Code.TWO_OWNERS, "TWO OWNERS", why, cure=_OWNERS)
        case AlarmKind.BOTH_SERVED:
            return Finding.of(
                Code.TWO_OWNERS,
                f"TWO OWNERS: both served, for about {alarm.value / SECOND:.1f} s at most",
                f"this host and {name} did not hear each other, and are heard again",
                cure="give the two a second way to hear each other, or add a witness",
            )
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
            return exchange.of_deaf(alarm.node, alarm.value)
