"""What is to be seen of a node of the lease protocol at one moment."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec

from clusterip.core.buckets import buckets_of
from clusterip.core.lease import asking, contact, pair
from clusterip.core.lease.node_state import State
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Versions
from clusterip.core.serving.planner import Member, fair_shares
from clusterip.core.serving.status import Snapshot, Standing


class _Seen(NamedTuple):
    """What is found of all nodes at once: whom they hear, what they speak, and who is deaf."""

    hears: dict[int, list[int]]
    speaks: dict[int, Versions]
    deaf: set[int]


def snapshot(state: State, *, now: int) -> Snapshot:
    """Return what is to be seen of a node."""
    kernel = state.kernel
    serving = kernel.open | kernel.draining
    fair = _fair_shares(state, now=now)
    seen = _Seen(
        contact.who_hears(state, now),
        state.voice.spoken.of(now=now),
        state.hearing.deafness.deaf(now=now),
    )
    return Snapshot(
        state.voice.incarnation,
        _numbers(kernel.owned),
        _numbers(kernel.taking),
        _numbers(kernel.draining),
        _numbers(state.plan.intent & ~kernel.open),
        max(0, kernel.deadline - now) if serving else 0,
        state.own.leaving,
        bool(state.grace.asked),
        bool(kernel.open)
        and len(pair.quorums(state, now)[0][0]) == 1 < len(state.votes.voters.voters),
        bool(state.votes.voters.before),
        state.voice.spoken.version(now=now),
        state.voice.spoken.held_down_by(now=now),
        [
            msgspec.structs.replace(
                _myself(state, now=now)
                if other == state.me
                else _other(state, other, seen, now=now),
                fair_share=fair.get(other, 0.0),
            )
            for other in sorted(state.votes.voters.known | {state.me})
        ],
        max(0, state.votes.voter.mute_until - now),
    )


def _fair_shares(state: State, *, now: int) -> dict[int, float]:
    ready = contact.is_ready(state, now)
    members = [
        Member(other, *asking.view_of(message)[2])
        for other, message in state.hearing.living.items()
    ]
    members.append(Member(state.me, state.own.weight, state.own.healthy, state.own.leaving, ready))
    return fair_shares(members, state.config.total)


def _numbers(mask: int) -> list[int]:
    return list(_same(mask))


@lru_cache(1 << 12)
def _same(mask: int) -> tuple[int, ...]:
    """Return the numbers of a mask: all voters say the same ones, again and again."""
    return tuple(buckets_of(mask))


@lru_cache(1 << 8)
def _granted(grants: tuple[tuple[int, int], ...]) -> dict[int, list[int]]:
    """Return what a voter grants, by node: it says the same again and again."""
    return {grantee: _numbers(mask) for grantee, mask in grants}


def _myself(state: State, *, now: int) -> Standing:
    hears = sorted(contact.speaking(state, now))
    listened = now - state.hearing.indirect.started >= state.promise_length
    return Standing(
        node=state.me,
        me=True,
        heard=None,
        alive=True,
        agrees=True,
        healthy=state.own.healthy,
        ready=contact.is_ready(state, now),
        leaving=state.own.leaving,
        weight=state.own.weight,
        speaks=state.voice.spoken.own,
        hears=hears,
        deaf=listened
        and not contact.all_left(state)
        and not (hears or contact.unread(state, now))
        and len(state.votes.voters.known) > 1,
        held=_numbers(state.kernel.open),
        draining=_numbers(state.kernel.draining),
        grants={
            grantee[0]: _numbers(promise.buckets)
            for grantee, promise in state.votes.voter.promises.items()
            if promise.buckets
        },
        keys=state.voice.keys,
        ends=state.own.ends or state.own.stopped,
        restarts=bool(state.grace.asked),
        config=state.config.config,
    )


def _other(state: State, other: int, seen: _Seen, *, now: int) -> Standing:
    peer: Peer | None = state.hearing.peers.all.get(other)
    newest: Message | None = peer.newest if peer else None
    deaf = other in seen.deaf
    hears = seen.hears.get(other, [])
    speaks = seen.speaks.get(other)
    if peer is None or newest is None:
        return Standing(
            node=other,
            me=False,
            heard=None,
            alive=False,
            agrees=True,
            speaks=speaks,
            hears=hears,
            deaf=deaf,
        )
    alive = other in state.hearing.living
    return Standing(
        node=other,
        me=False,
        heard=now - peer.heard_at,
        alive=alive,
        agrees=now - peer.heard_at >= state.promise_length or contact.agrees(state, newest),
        healthy=newest.healthy,
        ready=newest.ready,
        leaving=newest.leaving,
        weight=newest.weight,
        speaks=speaks,
        hears=hears,
        deaf=deaf,
        # What the dead held is theirs no longer.
        held=_numbers(newest.held) if alive else [],
        draining=_numbers(newest.draining) if alive else [],
        grants=_granted(newest.grants) if alive else {},
        keys=newest.keys,
        ends=newest.ends,
        restarts=bool(newest.grace) and (alive or contact.is_excused(state, peer, now)),
        config=newest.config,
    )
