"""What of a node goes into its hand-over, and how a successor takes it up."""

from __future__ import annotations

from clusterip.core.lease import others, pair
from clusterip.core.lease.handover import HandOver, Known, Leading, Promised, Proven
from clusterip.core.lease.holder import Binding
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.node_state import Hearing, State, Votes, begin
from clusterip.core.lease.standstill import Lead
from clusterip.core.lease.voter import Promise
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
    timing = state.timing
    state.voice.sequence, state.own.leaving = old.sequence, old.leaving
    state.grace.resumed, state.grace.lent_until = (old.sequence, now + timing.lease), old.lent_until
    state.attention.plan_from, state.attention.ready_at = now + 3 * timing.interval, now
    state.kernel = Kernel(old.owned, old.taking, old.draining, old.deadline)
    state.flows.restore(old.flows, now=now)
    state.inherited.restore(old.taking, now=now)
    plan = state.plan
    plan.intent, plan.incumbent, plan.lone = state.kernel.open, old.incumbent, old.lone
    _take_up_votes(state.votes, old)
    _take_up_hearing(state.hearing, old)
    length = state.votes.voter.length(timing.restart)
    if now >= old.lent_until - length + timing.restart:
        # The grace is over: the other of two may be in a restart that we have not heard of.
        pair.await_grace(state, now)
    elif now < old.deadline:
        # Nobody may have gone on without us: it is as if we had listened.
        state.attention.since = now - length
    return state


def _take_up_votes(votes: Votes, old: HandOver) -> None:
    votes.voters = VoterSet(old.voters, old.before)
    voter, holder = votes.voter, votes.holder
    voter.mute_until = old.mute_until
    for one in old.promises:
        voter.promises[one.node, one.incarnation] = Promise(one.until, one.buckets)
        voter.taken |= one.buckets
    holder.advertised, holder.since = old.advertised, dict(old.since)
    holder.proofs = {one.voter: (one.until, one.buckets) for one in old.proofs}
    holder.contact = dict(old.contact)
    holder.bindings = {one: Binding(until, 0) for one, until in old.bound.items()}


def _take_up_hearing(hearing: Hearing, old: HandOver) -> None:
    hearing.standstill.leads = {
        one.node: Lead(one.incarnation, one.newest, one.before, one.since) for one in old.leads
    }
    for one in old.peers:
        hearing.peers.take_up(one.node, one.incarnation, one.sequence, one.excused_until)
    for other, at in old.farewells.items():
        hearing.peers.learn(other).farewell_at = at
