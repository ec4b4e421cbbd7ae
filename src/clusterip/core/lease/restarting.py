"""A planned restart: the grace that a node announces, until all who must know of it do."""

from __future__ import annotations

from clusterip.core.lease import others, pair
from clusterip.core.lease.node_state import State
from clusterip.core.serving.actions import Note, RestartReady, RestartRefused


def note(state: State, until: int, about: int = 0) -> None:
    """Have a promise recorded: see `Note`."""
    state.kernel.actions.append(Note(until, about))


def await_ready(state: State, deadline: int, now: int) -> None:
    """Say when the kernel may go on alone for the grace that was announced."""
    if state.kernel.is_shut:
        return
    known = others.grace_is_known(state, now) and pair.knows_of_grace(state, now)
    allowed = deadline - state.grace.asked >= state.grace.sent_at and known
    if state.grace.announced and not state.grace.answered and allowed:
        state.grace.answered = True
        state.kernel.actions.append(RestartReady(deadline))


def set_grace(state: State, grace: int, now: int) -> None:
    """Announce a grace, or no more; the note that covers it ends with `ends`."""
    state.grace.asked = grace
    state.grace.sequence = state.voice.sequence + 1
    # If enough decline, it goes on with the leases of before.
    state.grace.ends = now + state.timing.lease - 2 * state.timing.interval
    if pair.serves_alone(state, now):
        # It says so for longer, and needs nobody's lease.
        state.grace.ends += state.promise_length
    state.grace.announced = False
    state.grace.answered = False


def give_up(state: State, now: int) -> None:
    """Call the restart off when not all who must know of it did in time."""
    if state.grace.asked and now >= state.grace.ends:
        # Our note covers no grace announced later.
        state.kernel.actions.append(RestartRefused(state.grace.asked))
        set_grace(state, 0, now)
