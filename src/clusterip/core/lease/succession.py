"""What of a node goes into its hand-over, and how a successor takes it up."""

from __future__ import annotations

from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.lease.holder import Binding
from clusterip.core.lease.others import Others
from clusterip.core.lease.standstill import Lead
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.serving.kernel import Kernel


def handed_over(node: Others) -> HandOver:
    """Return the memory of a node that says nothing from now on."""
    peers = node.peers.all
    return HandOver(
        node=node.me,
        incarnation=node.incarnation,
        sequence=node.sequence,
        config=node.config.config,
        voters=sorted(node.voters.voters),
        before=sorted(node.voters.before),
        owned=node.kernel.owned,
        taking=node.kernel.taking,
        draining=node.kernel.draining,
        deadline=node.kernel.deadline,
        advertised=node.holder.advertised,
        since=node.holder.since,
        proofs=[
            Proven(voter=voter, until=until, buckets=buckets)
            for voter, (until, buckets) in node.holder.proofs.items()
        ],
        promises=[
            Promised(node=other, incarnation=incarnation, buckets=one.buckets, until=one.until)
            for (other, incarnation), one in node.voter.promises.items()
        ],
        peers=[
            Known(
                node=other,
                incarnation=peer.incarnation,
                sequence=peer.sequence,
                excused_until=peer.excused_until,
            )
            for other, peer in peers.items()
            if peer.incarnation
        ],
        mute_until=node.voter.mute_until,
        leaving=node.leaving,
        incumbent=node.incumbent,
        flows=node.flows.kept,
        contact=node.holder.contact,
        leads=[
            Leading(
                node=other,
                incarnation=lead.incarnation,
                newest=lead.newest,
                before=lead.before,
                since=lead.since,
            )
            for other, lead in node.standstill.leads.items()
        ],
        farewells={other: peer.farewell_at for other, peer in peers.items() if peer.farewell_at},
        lent_until=node.lent_until,
        bound=node.bound(node.last_input),
        # Whatever the reason is: the successor has heard nothing yet.
        lone=node.serves_alone(node.last_input),
    )


def take_up(node: Others, old: HandOver, *, now: int) -> None:
    """Have a node know what its predecessor knew, but for the promises that it gave."""
    node.sequence = old.sequence
    node.resumed = old.sequence, now + node.timing.lease
    node.leaving, node.incumbent, node.lent_until = old.leaving, old.incumbent, old.lent_until
    node.voters = VoterSet(old.voters, old.before)
    node.kernel = Kernel(old.owned, old.taking, old.draining, old.deadline)
    node.flows.restore(old.flows, now=now)
    node.inherited.restore(old.taking, now=now)
    node.holder.advertised, node.holder.since = old.advertised, dict(old.since)
    node.holder.proofs = {one.voter: (one.until, one.buckets) for one in old.proofs}
    node.holder.contact = dict(old.contact)
    node.standstill.leads = {
        one.node: Lead(one.incarnation, one.newest, one.before, one.since) for one in old.leads
    }
    length = node.voter.length(node.timing.restart)
    if now >= old.lent_until - length + node.timing.restart:
        # The grace is over: the other of two may be in a restart that we have not heard of.
        node.await_grace(now)
    elif now < old.deadline:
        # Nobody may have gone on without us: it is as if we had listened.
        node.listening_since = now - length
    for one in old.peers:
        node.peers.take_up(one.node, one.incarnation, one.sequence, one.excused_until)
    for other, at in old.farewells.items():
        node.peers.learn(other).farewell_at = at
    node.holder.bindings = {voter: Binding(until, 0) for voter, until in old.bound.items()}
    node.intent, node.lone = node.kernel.open, old.lone
    node.plan_from, node.ready_at = now + 3 * node.timing.interval, now
