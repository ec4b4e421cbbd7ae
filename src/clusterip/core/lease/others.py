"""Who else may answer packets of what this node takes, or gave away: see `indirect`."""

from __future__ import annotations

from clusterip.core.lease import contact, pair
from clusterip.core.lease.indirect import lapsed
from clusterip.core.lease.node_state import State
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message


def there(state: State, now: int) -> dict[int, Peer]:
    """Return each peer that may answer packets, heard or not."""
    unlisted = strangers(state, now)
    found = {node: Peer() for node in unlisted}
    for message in state.hearing.peers.lingering(unlisted, now=now):
        if message.sender in found:
            found[message.sender].newest = message
    for node in state.votes.voters.known - {state.me}:
        peer = state.hearing.peers.all.get(node) or Peer()
        same = not peer.newest or contact.same(state, peer.newest)
        if not _is_gone(state, node, peer, now) and same:
            found[node] = peer
    return found


def strangers(state: State, now: int) -> set[int]:
    """Return of whom the voters tell although we do not, or no longer, listen to them.

    They are in the set before ours or the one after it: see `indirect`.
    """
    listed = state.votes.voters.known | {state.me}
    if state.hearing.indirect.names_only(listed):
        return set()
    unlisted = state.hearing.indirect.named(state.hearing.heard) - listed
    return {node for node in unlisted if _is_told_of(state, node, now)}


def _is_told_of(state: State, node: int, now: int) -> bool:
    """Return whether a voter told of late that it heard something new of `node`."""
    for voter in state.hearing.heard:
        bound = _bound_until(state, voter)
        spoke = bound - state.votes.voter.length(state.timing.restart) if bound > now else now
        if state.hearing.indirect.told_at(voter, node) > max(0, spoke - 2 * state.promise_length):
            return True
    return False


def lingering(state: State, now: int) -> list[Message]:
    """Return the newest message of each forgotten peer that may still answer packets."""
    return state.hearing.peers.lingering(strangers(state, now), now=now)


def outrun(state: State, node: int, peer: Peer, now: int) -> bool:
    """Return whether others may have heard of `node`, in any incarnation, what we did not."""
    # Of two incarnations that live we hear one at most, whatever the other drains.
    twice = node in state.hearing.peers.all and contact.doubled(state, node, now)
    return twice or state.hearing.indirect.outran(node, peer.newest, peer.heard_at)


def _is_gone(state: State, node: int, peer: Peer, now: int) -> bool:
    """Return whether the lease of a peer is over, whoever still hears it: see `indirect`."""
    if peer.alive_until > now or peer.excused_until > now:
        return False
    words = {state.me: (max(peer.heard_at, state.hearing.indirect.started), now)}
    for voter, until in _spoke_until(state, node).items():
        since = state.hearing.indirect.silent_since(voter, node, peer.newest, peer.heard_at)
        words[voter] = since, until
    # What they heard before a restart of their own counts for all of its grace.
    words = {
        voter: (max(since, _bound_until(state, voter) - state.promise_length), until)
        for voter, (since, until) in words.items()
    }
    # Who said its grace again, and we did not hear that, goes on for the grace from then on.
    grace = peer.newest.grace if peer.newest else 0
    promise_length = state.votes.voter.length(grace)
    return all(lapsed(quorum, words, promise_length) for quorum in pair.quorums(state, now))


def _spoke_until(state: State, node: int) -> dict[int, int]:
    """Return up to when, ns, what each voter but `node` said holds."""
    spoke = {}
    for voter, message in state.hearing.heard.items():
        sent = state.votes.holder.sent.get(message.heard_of(*state.myself))
        if sent and voter != node:
            spoke[voter] = sent.at
    return spoke


def grace_is_known(state: State, now: int) -> bool:
    """Return whether all who may have what drains here have heard of our grace.

    Who has not would take our silence for death, and answer what drains here: see `indirect`.
    """
    return not (state.grace.asked and state.kernel.draining) or all(
        peer.newest and peer.newest.acknowledged(*state.myself) >= state.grace.sequence
        for peer in there(state, now).values()
    )


def _bound_until(state: State, voter: int) -> int:
    """Return until when, ns, what a voter heard before its own restart counts; 0 if none."""
    if voter == state.me:
        return state.grace.lent_until
    peer = state.hearing.peers.all.get(voter)  # it may just have been removed
    return peer.bound_until if peer else 0


def bound(state: State, now: int) -> dict[int, int]:
    """Return of voters in a restart until when they count to what drains here, ns.

    Who may have that, and does not know of the grace, would take our silence for death: see
    `indirect`. One that is silent for a grace of its own does so no sooner than that is over.
    """
    bindings = state.votes.holder.bindings
    if not (state.kernel.draining and bindings):
        return {}
    answering = there(state, now)
    found = {}
    for voter, (until, sequence) in bindings.items():
        incarnation = state.hearing.peers.learn(voter).incarnation
        unknowing = {
            node
            for node, one in answering.items()
            if node != voter
            if sequence and not (one.newest and one.newest.heard_of(voter, incarnation) >= sequence)
        }
        if unknowing <= bindings.keys():
            found[voter] = min([until, *(bindings[node].until for node in unknowing)])
    return found


def told_until(state: State, node: int, now: int) -> int:
    """Return up to when, ns, voters enough to meet every majority told of `node`; 0: never."""
    spoke = {
        voter: until
        for voter, until in {state.me: now, **_spoke_until(state, node)}.items()
        # Before, it may be that one which it heard before its restart counts on that.
        if until >= _bound_until(state, voter)
    }
    times = []
    for voters, need in pair.quorums(state, now):
        known = sorted((spoke[one] for one in voters if one in spoke), reverse=True)
        times.append(known[need - 1] if len(known) >= need else 0)
    return min(times)
