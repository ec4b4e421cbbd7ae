"""The rule that a cluster must keep: at most one host answers, and what still drains is left alone.

Who stood still and cannot know yet is excused, and in alive mode whom the network kept apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterip.core.buckets import buckets_of
from clusterip.core.units import SECOND

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World


class TwoOwnersError(AssertionError):
    """The one thing that must not happen."""


def check(world: World, host: Host) -> None:
    """Raise TwoOwnersError if a host, whose kernel changed just now, breaks the rule."""
    serves, drains = host.serves(world.now), host.drains(world.now)
    if not serves | drains:
        return
    if host.missed > 2 * world.timing.interval and not world.alive:
        raise TwoOwnersError(
            f"at {world.now / SECOND:.4f} s {host.id} answers, which knows that it stood"
            f" still for {host.missed / SECOND:.4f} s, and nothing that was said since"
        )
    for other in world.hosts.values():
        if other is host:
            continue
        theirs = other.serves(world.now)
        check_moves(world, host, serves, other)
        check_moves(world, other, theirs, host)
        if not theirs or not serves:
            continue
        if theirs & serves or other.config != host.config:
            if world.alive and not world.strict and parted(world, host, other):
                continue
            if unshown(host, theirs & serves, other):
                continue
            raise TwoOwnersError(
                f"at {world.now / SECOND:.4f} s buckets {theirs & serves:#x} are open on "
                f"{host.id} and {other.id}, configurations {host.config} and {other.config}"
            )


def check_moves(world: World, taker: Host, serves: int, giver: Host) -> None:
    """See that what the giver still answers of a bucket is left alone by who has it now."""
    both = serves & giver.drains(world.now)
    if unshown(giver, both, taker) or unshown(taker, both, giver):
        return
    for bucket, known in giver.witnessed.items():
        # Who takes over from a taker that died cannot know of a drain that a restart hides.
        if taker.id != known:
            both &= ~(1 << bucket - 1)
    if (
        not both
        or taker.config != giver.config
        or (world.alive and not world.strict and hidden(world, taker, giver))
    ):
        return
    if both & ~taker.taking:
        raise TwoOwnersError(
            f"at {world.now / SECOND:.4f} s {taker.id} has all of buckets"
            f" {both & ~taker.taking:#x}, and {giver.id} drains them"
        )
    for bucket in buckets_of(both):
        flow_slots = giver.flow_slots.get(bucket, 0) & ~taker.flow_slots.get(bucket, 0)
        if flow_slots:
            raise TwoOwnersError(
                f"at {world.now / SECOND:.4f} s flow slots {flow_slots:#x} of bucket {bucket} are"
                f" answered by {taker.id} and {giver.id}"
            )


def unshown(one: Host, both: int, other: Host) -> bool:
    """Return whether one of two stood still, and has heard nothing since that was said after
    the other opened `both`: it cannot know.
    """
    return any(
        0 <= stood.shown < max(by.opened.get(bucket, 0) for bucket in buckets_of(both))
        for stood, by in ((one, other), (other, one))
        if both
    )


def hidden(world: World, one: Host, other: Host) -> bool:
    """Return whether the network kept one from hearing the other for about D."""
    return any(_unheard(world, one, other))


def parted(world: World, one: Host, other: Host) -> bool:
    """Return whether it kept each from hearing the other for about D, now or a moment ago.

    Both may serve then; and who hears the other again needs a message or two to be sure.
    """
    pair = (min(one.id, other.id), max(one.id, other.id))
    if all(_unheard(world, one, other)):
        world.parted[pair] = world.now
    return world.now - world.parted.get(pair, -world.promise) < world.promise


def _unheard(world: World, one: Host, other: Host) -> list[bool]:
    long_ago = world.now - world.promise + 3 * world.timing.interval
    pairs = ((one.id, other.id), (other.id, one.id))
    return [world.missing.get(pair, world.now) <= long_ago for pair in pairs]
