"""Whether this node listened: who did not run heard nothing, and nobody was silent for that."""

from __future__ import annotations

from clusterip.core.lease import pair
from clusterip.core.lease.node_state import State
from clusterip.core.serving.actions import Alarm, AlarmKind


def newcomer(state: State, now: int) -> None:
    """Take nothing from others for a while."""
    state.attention.ready_at = now + state.timing.settle


def wake(state: State, now: int) -> None:
    """Notice that we did not run: nobody was silent then, it was us who did not listen."""
    late = now - state.attention.armed
    if late > state.timing.lease // 4:
        state.attention.armed = now  # said once
        state.kernel.actions.append(Alarm(AlarmKind.STARVED, 0, late))
    if now - state.attention.last_input > 2 * state.timing.interval:
        listen(state, now, since=state.attention.last_input)
    state.attention.last_input = now


def listen(state: State, now: int, *, since: int) -> None:
    """Begin to listen anew: what was said after `since`, ns, may never come."""
    state.attention.plan_from = max(state.attention.plan_from, now + 3 * state.timing.interval)
    state.attention.since = max(state.attention.since, now)
    listen_for_grace(state, now, since=since)


def listen_for_grace(state: State, now: int, *, since: int) -> None:
    """Await a grace where one may have been announced since `since`, ns."""
    if pair.missed_grace(state, since, now):
        pair.await_grace(state, now)
