"""What of a node goes into its hand-over: all that a successor would be missed to know."""

from __future__ import annotations

from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.lease.others import Others


def handed_over(node: Others) -> HandOver:
    """Return the memory of a node that says nothing from now on."""
    peers = node.peers.all
    return HandOver(
        node=node.me,
        boot=node.boot,
        sequence=node.sequence,
        config=node.config.config,
        voters=sorted(node.voters.voters),
        before=sorted(node.voters.before),
        owned=node.kernel.owned,
        taking=node.kernel.taking,
        draining=node.kernel.draining,
        deadline=node.kernel.deadline,
        said=node.holder.said,
        since=node.holder.since,
        proofs=[
            Proven(voter=voter, until=until, buckets=buckets)
            for voter, (until, buckets) in node.holder.proofs.items()
        ],
        promises=[
            Promised(node=other, boot=boot, buckets=one.buckets, until=one.until)
            for (other, boot), one in node.voter.promises.items()
        ],
        peers=[
            Known(node=other, boot=peer.boot, sequence=peer.sequence, borne_until=peer.borne_until)
            for other, peer in peers.items()
            if peer.boot
        ],
        mute_until=node.voter.mute_until,
        leaving=node.leaving,
        incumbent=node.incumbent,
        flows=node.flows.kept,
        contact=node.holder.contact,
        leads=[
            Leading(
                node=other, boot=lead.boot, newest=lead.newest, before=lead.before, since=lead.since
            )
            for other, lead in node.standstill.leads.items()
        ],
        farewells={other: peer.farewell_at for other, peer in peers.items() if peer.farewell_at},
        lent_until=node.lent_until,
        bound=node.bound(node.last_input),
        lone=node.lone,
    )
