"""What is to be seen of a node of the lease protocol at one moment.

Times are ns; sets of buckets are lists, ascending from 1; nodes are ids.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from clusterip.core.buckets import buckets_of
from clusterip.core.lease.node import Node
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Versions
from clusterip.core.serving.assignment import view_of
from clusterip.core.serving.planner import Member, fair_shares


class Standing(msgspec.Struct, frozen=True):
    """One node as this one sees it. `heard` is how long ago, ns; None if never, or it is us.

    `alive` counts for the plan; `agrees` is False for one that is heard, and cannot serve with
    us. `weight` is None where it is not known. `speaks` are the lowest and the highest version of
    messages that it speaks, None where nothing was heard of late. `hears` are those it heard
    something new of lately, as it or they said here; `deaf` is True for one whose messages come
    and show that it does not hear us, and for us if we hear nobody. `grants` is what it, as a
    voter, promised to whom. `fair_share` is how many buckets are its by weight, 0 for who takes
    none. `keys` is the mask of the ids of the keys that it has, 0 where it is not known.
    """

    node: int
    me: bool
    heard: int | None
    alive: bool
    agrees: bool
    healthy: bool = False
    ready: bool = False
    leaving: bool = False
    weight: int | None = None
    speaks: Versions | None = None
    hears: list[int] = []
    deaf: bool = False
    held: list[int] = []
    draining: list[int] = []
    grants: dict[int, list[int]] = {}
    fair_share: float = 0.0
    keys: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """A node. `lease` is how long its kernel may go on by itself, ns; 0 if it holds nothing."""

    incarnation: int
    owned: list[int]
    taking: list[int]
    draining: list[int]
    asking: list[int]
    lease: int
    leaving: bool
    restarting: bool
    alone: bool
    settling: bool
    """Whether the voters changed and not every node has the new set yet."""
    version: int
    """In which version of messages it speaks."""
    held_down_by: list[int]
    """The nodes that keep it from the highest that it could speak."""
    nodes: list[Standing]


def snapshot(node: Node, *, now: int) -> Snapshot:
    """Return what is to be seen of `node`."""
    kernel = node.kernel
    serving = kernel.open | kernel.draining
    fair = _fair_shares(node, now=now)
    return Snapshot(
        node.incarnation,
        _numbers(kernel.owned),
        _numbers(kernel.taking),
        _numbers(kernel.draining),
        _numbers(node.intent & ~kernel.open),
        max(0, kernel.deadline - now) if serving else 0,
        node.leaving,
        bool(node.grace),
        bool(kernel.open) and len(node.quorums(now)[0][0]) == 1 < len(node.voters.voters),
        bool(node.voters.before),
        node.spoken.version(now=now),
        node.spoken.held_down_by(now=now),
        [
            msgspec.structs.replace(
                _myself(node, now=now) if other == node.me else _other(node, other, now=now),
                fair_share=fair.get(other, 0.0),
            )
            for other in sorted(node.voters.known | {node.me})
        ],
    )


def _fair_shares(node: Node, *, now: int) -> dict[int, float]:
    ready = node.is_ready(now)
    members = [Member(other, *view_of(message)[2]) for other, message in node.living.items()]
    members.append(Member(node.me, node.weight, node.healthy, node.leaving, ready))
    return fair_shares(members, node.config.total)


def _numbers(mask: int) -> list[int]:
    return list(_same(mask))


@lru_cache(1 << 12)
def _same(mask: int) -> tuple[int, ...]:
    """Return the numbers of a mask: all voters say the same ones, again and again."""
    return tuple(buckets_of(mask))


def _myself(node: Node, *, now: int) -> Standing:
    hears = sorted(node.speaking(now))
    listened = now - node.indirect.started >= node.promise_length
    return Standing(
        node=node.me,
        me=True,
        heard=None,
        alive=True,
        agrees=True,
        healthy=node.healthy,
        ready=node.is_ready(now),
        leaving=node.leaving,
        weight=node.weight,
        speaks=node.spoken.own,
        hears=hears,
        deaf=listened and not hears and len(node.voters.known) > 1,
        held=_numbers(node.kernel.open),
        draining=_numbers(node.kernel.draining),
        grants={
            grantee[0]: _numbers(promise.buckets)
            for grantee, promise in node.voter.promises.items()
            if promise.buckets
        },
        keys=node.keys,
    )


def _other(node: Node, other: int, *, now: int) -> Standing:
    peer: Peer | None = node.peers.all.get(other)
    newest: Message | None = peer.newest if peer else None
    deaf = other in node.deafness.deaf(now=now)
    hears = node.heard_by(other, now)
    speaks = node.spoken.of(now=now).get(other)
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
    alive = other in node.living
    return Standing(
        node=other,
        me=False,
        heard=now - peer.heard_at,
        alive=alive,
        agrees=now - peer.heard_at >= node.promise_length or node.agrees(newest),
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
        grants={grantee: _numbers(mask) for grantee, mask in newest.grants} if alive else {},
        keys=newest.keys,
    )
