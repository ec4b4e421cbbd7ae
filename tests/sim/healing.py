"""Whether a cluster is well again: what it must come back to when the troubles are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.world import World


class NotHealedError(AssertionError):
    """The cluster did not come back within the stated time."""


def fault(world: World) -> str:
    """Return what is not yet as it should be in a healed cluster; empty when all is well."""
    right = [h for h in world.hosts.values() if h.config == 1 and not h.removed]
    owners = [h.serves(world.now) for h in right]
    everything = (1 << world.total) - 1
    served = 0
    for mask in owners:
        served |= mask
    if served != everything:
        return f"buckets {everything & ~served:#x} are served by nobody"
    for host in right:
        drained = 0
        for other in right:
            drained |= other.draining
        if host.taking & ~drained:
            return f"{host.id} leaves {host.taking & ~drained:#x} to nobody"
    able = [h for h in right if not h.witness and h.weight and h.node]
    staying = [h for h in able if not h.leaving]
    sharing = [h for h in staying if h.healthy] or staying or able
    weights = sum(h.weight for h in sharing)
    for host, mask in zip(right, owners, strict=True):
        count = mask.bit_count()
        weight = host.weight if host in sharing else 0
        if abs(count * weights - world.total * weight) >= weights:
            return f"{host.id} of weight {weight}/{weights} has {count} of {world.total}"
    return ""
