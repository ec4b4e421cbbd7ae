"""Who should own which bucket: decides who asks, never who may.

The plan is a pure function of what the members say, so members that heard the same plan the
same. With total buckets and weights w, a member's fair share is total * w / sum(w). The plan
gives each member its fair share rounded down or up, and among all plans that do, it takes one
with the fewest buckets moved away from a member that could keep them:

Members get the rounded-down share; the buckets left over go, one each, to members whose share
is not whole. A member that now has more than its rounded-down share keeps one more bucket by
being chosen, any other member keeps none more: so the former come first, and no choice keeps more.

A newcomer takes nothing from others, and nobody takes from it what it has, up to a fair share
rounded up: where all began anew, the first that is ready would else have all buckets for a moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Member(NamedTuple):
    """A live member. `weight` 0 (a witness) owns nothing.

    `leaving` asks to be rid of its buckets; `ready` is False for one that came lately.
    """

    node: int
    weight: int = 1
    healthy: bool = True
    leaving: bool = False
    ready: bool = True


def eligible(members: Sequence[Member]) -> list[Member]:
    """Return who shares the buckets, by node id: the fittest tier that is not empty.

    Readiness and health are wishes: when nobody has them, serving badly beats not serving, and a
    wrong health check must not take the site down. So is leaving, when all leave.
    """
    able = sorted(member for member in members if member.weight > 0)
    staying = [member for member in able if not member.leaving]
    return (
        [member for member in staying if member.healthy and member.ready]
        or [member for member in staying if member.healthy]
        or staying
        or able
    )


def newcomers(members: Sequence[Member], able: Sequence[Member]) -> list[Member]:
    """Return who will be one of `able`, the fittest, as soon as it is ready, by node id."""
    return sorted(
        member
        for member in members
        if member.weight > 0 and member.healthy and not member.leaving and member not in able
    )


def fair_shares(members: Sequence[Member], total: int) -> dict[int, float]:
    """Return how many of `total` buckets are each member's by its weight; 0 for who shares none."""
    able = eligible(members)
    weights = sum(member.weight for member in able)
    shares = dict.fromkeys((member.node for member in members), 0.0)
    return shares | {member.node: total * member.weight / weights for member in able}


def shares(members: Sequence[Member], total: int, kept: Sequence[int]) -> list[int]:
    """Return how many of `total` buckets each of `members` gets; `kept[i]` is what it has."""
    weights = sum(member.weight for member in members)
    counts = [total * member.weight // weights for member in members]
    order = sorted(
        (i for i, member in enumerate(members) if total * member.weight % weights),
        key=lambda i: (
            kept[i] <= counts[i],
            -(total * members[i].weight % weights),
            members[i].node,
        ),
    )
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def plan(members: Sequence[Member], owners: Sequence[int]) -> tuple[int, ...]:
    """Return the desired owner's node id for each bucket, 0 for all when nobody can own any.

    `owners[i]` is the node that has bucket i + 1 now, 0 for none; its length is the total.
    """
    able = eligible(members)
    total = len(owners)
    if not able:
        return (0,) * total
    had = Counter(owners)
    new = [member for member in newcomers(members, able) if had[member.node]]
    weights = sum(member.weight for member in (*able, *new))
    room = {
        member.node: min(had[member.node], -(-total * member.weight // weights)) for member in new
    }
    counts = shares(able, total - sum(room.values()), [had[member.node] for member in able])
    room |= {member.node: count for member, count in zip(able, counts, strict=True)}
    desired = [0] * total
    for bucket, owner in enumerate(owners):
        if room.get(owner):
            room[owner] -= 1
            desired[bucket] = owner
    needy = (node for node in room for _ in range(room[node]))
    return tuple(owner or next(needy) for owner in desired)
