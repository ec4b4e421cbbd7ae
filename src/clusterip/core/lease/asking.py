"""What a node asks for by its plan, and what it gives to those who are to have it."""

from __future__ import annotations

from clusterip.core.buckets import mask_of
from clusterip.core.lease import contact
from clusterip.core.lease.node_state import State
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import flow_slots_that_fit
from clusterip.core.serving.actions import BucketState, ReadFlowSlots
from clusterip.core.serving.assignment import View

_NEWCOMERS = 4
"""How many hosts may be added while buckets drain, and messages still fit in one frame."""


def view_of(message: Message) -> View:
    """Return what the plan needs to know of the sender."""
    return message.want, message.held, message[6:10]


def is_shut_out(state: State, now: int) -> bool:
    """Return whether we are a newcomer among those who serve what does not go with ours."""
    if state.plan.incumbent:
        return False
    for node in state.hearing.disagreeing:
        peer = state.hearing.peers.all.get(node)
        if not (peer and peer.newest and peer.newest.held):
            continue
        # In a planned restart it is silent, and serves.
        if max(peer.heard_at + state.promise_length, peer.excused_until) > now:
            return True
    return False


def may_serve(state: State, now: int) -> bool:
    """Return whether this node may ask for anything, and answer it."""
    there = state.own.link and not state.own.stopped and not contact.barred(state, now)
    return there and state.me in state.votes.voters.voters


def _view(state: State, now: int) -> View:
    """Return the same of this node as `view_of` does of others."""
    own, kernel = state.own, state.kernel
    fit = own.weight, own.healthy, own.leaving, contact.is_ready(state, now)
    return state.plan.intent | kernel.open, kernel.open, fit


def intend(state: State, now: int) -> None:
    """Make a plan, where it is known who is there, and ask for what is ours by it."""
    if now < state.attention.plan_from:
        return
    _look(state, now)
    if state.grace.asked:
        return
    # Without a majority what is given away ends here, and nobody can be granted it.
    if state.votes.contact_until >= now + state.timing.interval:
        _pass_on(state, now)
    state.plan.intent = state.kernel.open
    # Who cannot hear what it is granted would only keep it from others.
    if contact.in_contact(state, now) and not is_shut_out(state, now):
        asked = state.plan.assignment.mine | _orphans(state, now)
        state.plan.intent |= asked & ~state.plan.backoff.yielded(
            asked & ~state.kernel.open, lambda: _contested(state), now=now
        )


def _look(state: State, now: int) -> None:
    """Plan anew, where others live than before, or they or this node have or want something else.

    Most messages change nothing of that.
    """
    hearing, plan = state.hearing, state.plan
    mine = _view(state, now)
    if plan.turn == hearing.peers.alive.turns:
        if mine == plan.views[state.me]:
            return
        plan.views = plan.views | {state.me: mine}
    else:
        plan.turn = hearing.peers.alive.turns
        plan.views = {node: view_of(message) for node, message in hearing.living.items()}
        plan.views[state.me] = mine
        plan.living_ask = plan.heard_ask = 0
        for message in hearing.living.values():
            plan.living_ask |= message.want
        for message in hearing.heard.values():
            plan.heard_ask |= message.want
    plan.assignment.update(plan.views)


def _contested(state: State) -> int:
    """Return the mask of buckets that some voter grants to another, and nobody holds.

    Who lives and holds one gives it up when it is ready to.
    """
    held = 0
    for message in state.hearing.heard.values():
        held |= message.held
    return _granted_to_others(state) & ~held


def _orphans(state: State, now: int) -> int:
    """Return the mask of buckets that this node asks for because nobody does."""
    if not state.plan.assignment.able:
        return 0
    asked = state.plan.assignment.mine | state.kernel.open | state.plan.heard_ask
    return state.plan.orphans.look(((1 << state.config.total) - 1) & ~asked, now=now)


def _granted_to_others(state: State) -> int:
    """Return the mask of what some voter grants to another that asks for it, as far as we hear.

    Who has just given something up does not: it was heard by us before those who vote for it.
    """
    voter = state.votes.voter
    mask = voter.taken & ~voter.granted(state.myself)
    for message in state.hearing.heard.values():
        for node, buckets in message.grants:
            if node != state.me:
                asker = state.hearing.heard.get(node)
                mask |= buckets & asker.want if asker else buckets
    return mask


def _passed_on(state: State, now: int) -> int:
    """Return the mask of buckets whose desired owner lives, asks for them and hears us."""
    mask = 0
    if not state.plan.living_ask & state.kernel.open:
        return mask
    for node, message in state.hearing.living.items():
        # Who is about to restart may be silent before it has it.
        asks = message.want & state.kernel.open and not message.grace
        if asks and contact.sent_lately(state, message.heard_of(*state.myself), now):
            mask |= message.want & state.plan.assignment.of.get(node, 0)
    return mask & state.kernel.open


def _pass_on(state: State, now: int) -> None:
    """Watch what is to go, and let go what was watched for long enough."""
    kernel, flows = state.kernel, state.flows
    going = _passed_on(state, now)
    flows.keep_only(going)
    if kernel.watching & ~going:
        kernel.put(kernel.watching & ~going, BucketState.OWNED)
    # What is being taken goes at once: its flows are not all ours to keep.
    ready = flows.settled(going) | going & kernel.taking if flows.watch else going
    if ready:
        room = flow_slots_that_fit(state.config.total, len(state.hearing.peers.all) + _NEWCOMERS)
        kernel.put(ready, BucketState.DRAINING, flows.give(ready, room, now=now))
    if flows.watch and (new := flows.begin(going & kernel.owned, now=now)):
        kernel.put(new, BucketState.WATCHING)
    if over := flows.seen_enough(now=now):
        # First nothing more is noted, then it is read.
        kernel.put(mask_of(over), BucketState.OWNED)
        kernel.actions.append(ReadFlowSlots(over))
