"""What of a node goes into its hand-over: all that a successor would be missed to know."""

from __future__ import annotations

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.others import Others


def handed_over(node: Others) -> HandOver:
    """Return the memory of a node that says nothing from now on."""
    return HandOver(
        node.me, node.boot, node.sequence, node.config.config,
        sorted(node.voters.voters), sorted(node.voters.before),
        node.kernel.owned, node.kernel.taking, node.kernel.draining, node.kernel.deadline,
        node.holder.said, list(node.holder.since.items()),
        [(voter, *proof) for voter, proof in node.holder.proofs.items()],
        [(*grantee, p.buckets, p.until) for grantee, p in node.voter.promises.items()],
        [
            (other, peer.boot, peer.sequence, peer.borne_until)
            for other, peer in node.peers.all.items()
            if peer.boot
        ],
        node.voter.mute_until, node.leaving, node.incumbent,
        list(node.flows.kept.items()), list(node.holder.contact.items()),
        [(other, *lead[:4]) for other, lead in node.standstill.leads.items()],
        [
            (other, peer.farewell_at)
            for other, peer in node.peers.all.items()
            if peer.farewell_at
        ],
        node.lent_until,
        list(node.bound(node.last_input).items()),
        node.lone,
    )  # fmt: skip
