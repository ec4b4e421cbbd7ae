"""Whether this node serves nothing though it could: that is told, whatever the cause.

What is known to keep a node from serving has a finding of its own. This one is for the rest: it is
fit, is in contact with a majority, a share is its by weight, and it gets none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from clusterip.core.findings import Code, Finding
from clusterip.core.lease import asking, contact
from clusterip.core.lease.node_state import State
from clusterip.core.serving.planner import Member, fair_shares
from clusterip.core.units import SECOND

_PATIENCE: Final = 10 * SECOND
"""How long it may take to get the first bucket, ns, beside giving it up and granting it."""


class Idle:
    """For how long a node was without buckets; `name` gives the names of nodes."""

    def __init__(self, state: State, name: Callable[[int], str], *, now: int) -> None:
        self._state, self._name = state, name
        self._since = now
        """When it had buckets last, or was to have none, ns."""

    def findings(self, *, listens: int, now: int) -> Iterator[tuple[str, Finding]]:
        """Yield that it serves nothing, where that lasts; this daemon runs since `listens`, ns."""
        state = self._state
        giving = 2 * (2 * state.promise_length + state.flows.watch)
        if any(message.flows for message in state.hearing.heard.values()):
            giving += state.flows.keep  # what is given away may have to wait for room
        if not self._could(now):
            self._since = now
        elif now >= max(self._since, listens) + _PATIENCE + giving:
            yield "", self._finding(now)

    def _could(self, now: int) -> bool:
        state = self._state
        if state.kernel.open or not asking.may_serve(state, now) or state.grace.asked:
            return False
        if not contact.in_contact(state, now) or state.votes.voter.muted(now):
            return False
        if asking.is_shut_out(state, now):
            return False  # who is in the way has another configuration, and that is said
        members = [
            Member(node, *asking.view_of(message)[2])
            for node, message in state.hearing.living.items()
        ]
        own = state.own
        members.append(Member(state.me, own.weight, own.healthy, own.leaving, True))
        return fair_shares(members, state.config.total)[state.me] >= 1

    def _finding(self, now: int) -> Finding:
        state = self._state
        holders = {
            node: message.held.bit_count()
            for node, message in sorted(state.hearing.heard.items())
            if message.held
        }
        why = ", ".join(f"{self._name(node)} holds {count}" for node, count in holders.items())
        deaf = [
            self._name(node) for node, hears in contact.speaking(state, now).items() if not hears
        ]
        if deaf:
            verb = "does" if len(deaf) == 1 else "do"
            why += f"{', and ' if why else ''}{', '.join(sorted(deaf))} {verb} not hear this host"
        asks = "a share is its by weight, and it gets none of it"
        return Finding.of(
            Code.SERVES_NOTHING,
            "this host serves nothing, though it could",
            f"{asks}{'; ' if why else ''}{why}",
            cure="see `clusterip show` on the others: whether they hear this host, and run with"
            " the same voters and the same file",
        )
