"""What of a node goes into its hand-over, and how a successor takes it up."""

from __future__ import annotations

from clusterip.core.lease import others, pair
from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.lease.holder import Binding
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.node_state import State, begin
from clusterip.core.lease.standstill import Lead
from clusterip.core.lease.voter import Promise, Voter
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.serving.kernel import Kernel


def handed_over(state: State) -> HandOver:
    """Return the memory of a node that says nothing from now on."""
    peers = state.hearing.peers.all
    return HandOver(
        node=state.me,
        incarnation=state.voice.incarnation,
        sequence=state.voice.sequence,
        config=state.config.config,
        voters=sorted(state.votes.voters.voters),
        before=sorted(state.votes.voters.before),
        owned=state.kernel.owned,
        taking=state.kernel.taking,
        draining=state.kernel.draining,
        deadline=state.kernel.deadline,
        advertised=state.votes.holder.advertised,
        since=state.votes.holder.since,
        proofs=[
            Proven(voter=voter, until=until, buckets=buckets)
            for voter, (until, buckets) in state.votes.holder.proofs.items()
        ],
        promises=[
            Promised(node=other, incarnation=incarnation, buckets=one.buckets, until=one.until)
            for (other, incarnation), one in state.votes.voter.promises.items()
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
        mute_until=state.votes.voter.mute_until,
        leaving=state.own.leaving,
        incumbent=state.plan.incumbent,
        flows=state.flows.kept,
        contact=state.votes.holder.contact,
        leads=[
            Leading(
                node=other,
                incarnation=lead.incarnation,
                newest=lead.newest,
                before=lead.before,
                since=lead.since,
            )
            for other, lead in state.hearing.standstill.leads.items()
        ],
        farewells={other: peer.farewell_at for other, peer in peers.items() if peer.farewell_at},
        lent_until=state.grace.lent_until,
        bound=others.bound(state, state.attention.last_input),
        # Whatever the reason is: the successor has heard nothing yet.
        lone=pair.serves_alone(state, state.attention.last_input),
    )


def resume(config: NodeConfig, old: HandOver, *, now: int) -> State:
    """Return the state of a node that knows what its predecessor did."""
    state = begin(config, incarnation=old.incarnation, mute=0, now=now)
    _take_up(state, old, now)
    _remember(state.votes.voter, old)
    return state


def _remember(voter: Voter, old: HandOver) -> None:
    """Take up the promises given as a voter."""
    voter.mute_until = old.mute_until
    for one in old.promises:
        voter.promises[one.node, one.incarnation] = Promise(one.until, one.buckets)
        voter.taken |= one.buckets


def _take_up(state: State, old: HandOver, now: int) -> None:
    state.voice.sequence = old.sequence
    state.grace.resumed = old.sequence, now + state.timing.lease
    state.own.leaving, state.plan.incumbent, state.grace.lent_until = (
        old.leaving,
        old.incumbent,
        old.lent_until,
    )
    state.votes.voters = VoterSet(old.voters, old.before)
    state.kernel = Kernel(old.owned, old.taking, old.draining, old.deadline)
    state.flows.restore(old.flows, now=now)
    state.inherited.restore(old.taking, now=now)
    state.votes.holder.advertised, state.votes.holder.since = old.advertised, dict(old.since)
    state.votes.holder.proofs = {one.voter: (one.until, one.buckets) for one in old.proofs}
    state.votes.holder.contact = dict(old.contact)
    state.hearing.standstill.leads = {
        one.node: Lead(one.incarnation, one.newest, one.before, one.since) for one in old.leads
    }
    length = state.votes.voter.length(state.timing.restart)
    if now >= old.lent_until - length + state.timing.restart:
        # The grace is over: the other of two may be in a restart that we have not heard of.
        pair.await_grace(state, now)
    elif now < old.deadline:
        # Nobody may have gone on without us: it is as if we had listened.
        state.attention.since = now - length
    for one in old.peers:
        state.hearing.peers.take_up(one.node, one.incarnation, one.sequence, one.excused_until)
    for other, at in old.farewells.items():
        state.hearing.peers.learn(other).farewell_at = at
    state.votes.holder.bindings = {voter: Binding(until, 0) for voter, until in old.bound.items()}
    state.plan.intent, state.plan.lone = state.kernel.open, old.lone
    state.attention.plan_from, state.attention.ready_at = now + 3 * state.timing.interval, now
