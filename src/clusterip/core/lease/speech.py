"""What a node says: its messages, when, and whether they are heard."""

from __future__ import annotations

from clusterip.core.lease import contact, others, pair
from clusterip.core.lease.node_state import State
from clusterip.core.lease.voter import Grantee
from clusterip.core.messages.echoes import Echoes
from clusterip.core.messages.message import Message


def answer(state: State, now: int) -> None:
    """Give an unknown incarnation something to echo: it proves itself the sooner.

    Once each interval, for anybody may send again what was recorded of former incarnations.
    """
    if now >= state.voice.answered_at + state.timing.interval:
        state.voice.answered_at = now
        state.voice.changed = True


def send_at(state: State) -> int:
    """Return when the next message is to be sent, ns."""
    wait = state.timing.gap if state.voice.changed else state.timing.interval
    return state.voice.last_sent + wait


def saying(state: State, now: int) -> tuple[object, ...]:
    """Return what a message would say that is worth saying at once."""
    own, kernel = state.own, state.kernel
    ready = contact.is_ready(state, now)
    return (
        state.plan.intent | kernel.open, kernel.open, kernel.draining, ready,
        state.grace.asked, own.healthy, own.leaving, own.ends, own.weight,
        state.votes.voters.previous, state.flows.said(), state.voice.spoken.version(now=now),
    )  # fmt: skip


def in_vain(state: State, now: int) -> bool:
    """Return whether what was said of late was not heard: by a majority, or by who speaks.

    Then it is said to everybody on the interface as well. After a loss of the link Linux asks
    for the MAC of a neighbour once a second, and holds back what it has for it: a lease is
    shorter. Who never hears us is told of in time, and then no longer a reason; and a start is
    none, or a wrong address in a file would never be noticed. But another daemon that runs as
    this node must hear us, above all before one of the two goes on alone.
    """
    if state.hearing.namesake.speaks(now=now) or (
        pair.is_of_two(state) and not state.hearing.living
    ):
        return True
    late = 3 * state.timing.interval
    if 0 < state.votes.contact_until < now + state.timing.lease - late:
        return True
    deaf = state.hearing.deafness.deaf(now=now)
    for node, peer in state.hearing.peers.all.items():
        if peer.newest and peer.heard_at + late > now and node not in deaf:
            sent = state.votes.holder.sent.get(peer.newest.heard_of(*state.myself))
            if sent is None or sent[0] + late < peer.heard_at:
                return True
    return False


def _is_this(grantee: Grantee, newest: dict[int, int]) -> bool:
    """Return whether that incarnation is in `newest`: of others nothing may be counted."""
    return newest.get(grantee[0]) == grantee[1]


def _within_reach(state: State, node: int) -> bool:
    """Return whether our promise to `node` is one it may count: it is being renewed."""
    return node == state.me or node in state.hearing.living


def _about_me(state: State, now: int) -> Message:
    """Return this node's message without what it owes and grants to others."""
    own, kernel, voice, voters = state.own, state.kernel, state.voice, state.votes.voters
    return Message(
        state.me, voice.incarnation, voice.sequence, state.config.config,
        voters.digest, voters.previous, own.weight, own.healthy,
        own.leaving, contact.is_ready(state, now), state.grace.asked,
        state.plan.intent | kernel.open, kernel.open, kernel.draining,
        flows=state.flows.said(), clock=now,
        version=voice.spoken.version(now=now), speaks=voice.spoken.own, keys=voice.keys,
        ends=own.ends or own.stopped,
    )  # fmt: skip


def compose(state: State, now: int) -> Message:
    """Return what this node says now."""
    owed = state.hearing.peers.owed(silent_since=now - 3 * state.timing.interval, now=now)
    newest = {entry.node: entry.incarnation for entry in owed if entry.acknowledged}
    newest[state.me] = state.voice.incarnation
    grants = tuple(
        (grantee[0], promise.buckets)
        for grantee, promise in state.votes.voter.promises.items()
        if promise.buckets and _is_this(grantee, newest) and _within_reach(state, grantee[0])
    )  # fmt: skip
    heard = Echoes.said(owed + state.hearing.namesake.owed(now=now), like=state.voice.echoed)
    state.voice.echoed = heard.of
    seen_draining = 0
    there = others.there(state, now).values()
    for one in [*others.lingering(state, now), *(peer.newest for peer in there)]:
        seen_draining |= one.draining if one else 0
    return _about_me(state, now)._replace(
        heard=heard,
        grants=() if contact.barred(state, now) else grants,
        seen_draining=seen_draining,
    )
