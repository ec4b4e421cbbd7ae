"""The heart of a node: after any input, what it may still use, asks for, gives up and opens.

`settle` is the list of these steps. What is over ends first, for nothing may build on it; then what
is ours is counted; then the kernel is told, closing before opening.

1. A pause of ours is noticed (`wake`), before anybody is taken for dead whom we slept through.
2. Promises that are over are forgotten, and what is free is granted (`give`): who waits for it need
   not wait for our next message.
3. Who lives is looked up; all that follows goes by it.
4. A restart that too few know of is called off: what follows asks whether one is under way.
5. The voters before ours are forgotten when all have ours: majorities are counted in what is left.
6. Whether we go on without the other of two (`note_lone`): that decides which majorities count.
7. After a standstill proofs from before it are dropped, once a majority spoke since (`_is_sure`):
   before any proof is read.
8. From the proofs follow the ends of our leases, and until when a majority hears us (`_ends`).
9. What is lost is closed (`_lapse`), before the deadline moves: it would live on the leases of the
   rest.
10. Flows that were kept for long enough are left to others (`_stop_keeping`), also by who may not
    serve any more; and before anything is given away, for that needs their room.
11. Who may not serve closes all and asks for nothing. Who may plans and asks (`intend`), and gives
    away what others are to have: so the deadline below is not held back by what went.
12. The deadline moves, and last of all what became ours is opened (`_use`), by what is known now of
    who had it. A kernel that was shut for a standstill takes all as if anew, and is opened then.
13. At the end it is seen whether there is something to say at once; and until when all this would
    come to the same again for a message that only renews: then it is left out (`calm`).
"""

from __future__ import annotations

from clusterip.core.buckets import buckets_of, mask_of
from clusterip.core.lease import asking, calm, contact, listening, others, pair, restarting, speech
from clusterip.core.lease.holder import CONTACT, DRAINS
from clusterip.core.lease.node_state import State
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.serving.actions import BucketState
from clusterip.core.serving.flows import Told

Ends = list[tuple[int, int]]
"""When leases end, ns, each with the mask of its buckets: `Holder.ends`."""


def settle(state: State, now: int) -> None:
    """Make of what is known what follows from it `now`, ns."""
    listening.wake(state, now)  # 1
    state.votes.voter.expire(now=now)
    give(state, now)  # 2
    _look_who_lives(state, now)  # 3
    restarting.give_up(state, now)  # 4
    _forget_voters_before(state, now)  # 5
    pair.note_lone(state, now)  # 6
    sure = _is_sure(state, now)  # 7
    ends = _ends(state, now)  # 8
    _lapse(state, ends, now)  # 9
    _stop_keeping(state, now)  # 10
    if asking.may_serve(state, now):  # 11
        asking.intend(state, now)
        if sure:
            # Others may have had any of them meanwhile: what is ours is taken as if anew, for
            # they may drain it, and what drained here is over.
            _close(state)
        _use(state, ends, now)  # 12
    else:
        state.plan.intent = 0
        _close(state)
    if sure:
        state.kernel.unshut()
    # 13
    state.voice.changed |= state.voice.advertised != speech.saying(state, now)
    state.attention.calm_until = calm.lasts(state, ends, now)


def give(state: State, now: int) -> None:
    """Grant what is free to those who ask."""
    if not asking.is_shut_out(state, now):
        state.voice.changed |= state.votes.voter.give(now=now)


def _look_who_lives(state: State, now: int) -> None:
    hearing = state.hearing
    hearing.heard = hearing.peers.heard(now=now)
    hearing.living = hearing.peers.living(now=now)


def _forget_voters_before(state: State, now: int) -> None:
    """Forget the voters before ours when every other has the present ones."""
    votes, peers = state.votes, state.hearing.peers
    if votes.voters.before and votes.voters.settled(state.hearing.heard, state.me):
        there = others.there(state, now)
        votes.voters = VoterSet(votes.voters.voters)
        peers.keep(votes.voters.known, there, until=now + 2 * state.promise_length)
        state.voice.changed = True


def _is_sure(state: State, now: int) -> bool:
    """Return whether a majority spoke since we stood still; what was said before counts no more."""
    holder = state.votes.holder
    sure = state.kernel.is_shut and holder.sure(pair.quorums(state, now))
    if sure:
        holder.believe()
    return sure


def _ends(state: State, now: int) -> Ends:
    """Return when our leases end, and note until when a majority hears us."""
    votes = state.votes
    ends = votes.holder.ends(pair.quorums(state, now), others.bound(state, now))
    if (until := pair.alone_until(state, now)) is not None:
        ends = [(min(end, until), buckets) for end, buckets in ends]
    votes.contact_until = max((end for end, buckets in ends if buckets & CONTACT), default=0)
    return ends


def _close(state: State) -> None:
    """Close all that is in use here, or drains."""
    kernel = state.kernel
    if kernel.open | kernel.draining:
        kernel.put(kernel.open | kernel.draining, BucketState.NONE)


def _lapse(state: State, ends: Ends, now: int) -> None:
    """Clear what is not ours any more, and what would hold the others back."""
    kernel = state.kernel
    good = 0
    best = 0
    for end, buckets in ends:
        if buckets & kernel.open and not best:
            best = end
        lags = end < now + state.timing.interval and end + state.timing.interval < best
        if end > now and not (lags and buckets & kernel.open):
            good |= buckets
    lost = kernel.open & ~good
    if lost:
        if lost == kernel.open:
            listening.newcomer(state, now)
        kernel.put(lost, BucketState.NONE)
    if kernel.draining and not good & DRAINS:
        kernel.put(kernel.draining, BucketState.NONE)


def _stop_keeping(state: State, now: int) -> None:
    """Leave flows and connections to others when their time is over."""
    kernel, flows = state.kernel, state.flows
    flows.keep_only(0 if state.grace.asked else kernel.open)
    for bucket in flows.over(kernel.draining, now=now):
        kernel.set_flow_slots(bucket, 0)
    if state.grace.asked and kernel.watching:
        kernel.put(kernel.watching, BucketState.OWNED)


def _use(state: State, ends: Ends, now: int) -> None:
    """Move the deadline, then open what became ours."""
    kernel = state.kernel
    # A lease about to end is not worth opening, and would end those of the others.
    fresh = 0
    for end, buckets in ends:
        if end >= now + state.timing.interval:
            fresh |= buckets
    opening = state.plan.intent & fresh & ~kernel.open
    if now < state.attention.plan_from:
        opening = 0  # we would not know of a living peer that drains, or holds it
    serving = kernel.open | opening
    needed = (serving | (DRAINS if kernel.draining else 0)) or CONTACT
    # That of all together; as it is, if none is known.
    deadline = min((end for end, buckets in ends if buckets & needed), default=kernel.deadline)
    if deadline != kernel.deadline and (serving | kernel.draining):
        kernel.limit(deadline)
    _open(state, opening, now)
    restarting.await_ready(state, deadline, now)


def _open(state: State, opening: int, now: int) -> None:
    """Open what became ours, and leave alone what others may still answer of it."""
    kernel = state.kernel
    if not kernel.taking | opening:
        return
    left = _left(state, opening, now)
    theirs = mask_of(left)
    if kernel.taking & ~theirs:
        kernel.put(kernel.taking & ~theirs, BucketState.OWNED)
    for bucket in buckets_of(kernel.taking):
        kernel.set_flow_slots(bucket, left[bucket])
    if opening:
        state.plan.incumbent = True
        if opening & theirs:
            kernel.put(opening & theirs, BucketState.TAKING, left)
        if opening & ~theirs:
            kernel.put(opening & ~theirs, BucketState.OWNED)


def _left(state: State, opening: int, now: int) -> dict[int, int]:
    """Return the flow slots to leave alone, by bucket: of those to be, or remain, in TAKING."""
    all_heard = [contact.as_other(message) for message in others.lingering(state, now)]
    rest = list(all_heard)
    until, draining, outrun = now, 0, False
    for node, peer in others.there(state, now).items():
        heard = [contact.as_other(peer.newest)] if peer.newest else []
        all_heard += heard
        if others.outrun(state, node, peer, now):
            outrun = True
            # In its restart it drains on, and says so to nobody.
            excused = contact.is_excused(state, peer, now)
            until = min(until, 0 if excused else others.told_until(state, node, now))
            draining |= state.hearing.indirect.relayed(node, peer.newest)
        else:
            rest += heard
    told = Told(until, draining, rest) if outrun else None
    return state.inherited.look(state.kernel.taking, opening, all_heard, told, now=now)
