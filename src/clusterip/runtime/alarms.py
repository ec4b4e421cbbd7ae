"""What the log has of an alarm: what is wrong on this host, or between it and another."""

from __future__ import annotations

import logging
from collections.abc import Callable

from clusterip.core.lease.events import Alarm, AlarmKind
from clusterip.core.lease.timing import SECOND, Timing
from clusterip.core.messages.message import buckets_of, spans
from clusterip.runtime.others import Others

_log = logging.getLogger("clusterip")


def say(alarm: Alarm, name_of: Callable[[int], str], others: Others, timing: Timing) -> None:
    """Say an alarm of a node with that timing; `name_of` gives the names of nodes."""
    name = name_of(alarm.node)
    match alarm.kind:
        case AlarmKind.TWO_OWNERS:
            _log.error(
                "TWO OWNERS: %s says that it holds buckets %s, which are held here",
                name,
                spans(buckets_of(alarm.value)),
            )
        case AlarmKind.MISMATCH:
            _log.error(
                "%s has another configuration (digest %016x): it does not serve with this"
                " node; compare the files with `clusterip check`",
                name,
                alarm.value,
            )
        case AlarmKind.STOOD_STILL:
            _log.warning(
                "this machine stood still for %.2f s, as the others' clocks show: was it"
                " paused, saved or moved? What it held before, it asks for anew",
                alarm.value / SECOND,
            )
        case AlarmKind.STARVED:
            _log.warning(
                "starved: this daemon ran %d ms late, of a lease of %d ms; free the"
                ' processor, or use profile = "relaxed"',
                alarm.value // 1_000_000,
                timing.lease // 1_000_000,
            )
        case AlarmKind.DEAF:
            _log.error(
                "%s is heard, but %s",
                name,
                others.cause_of_deafness(alarm.node, alarm.value),
            )
