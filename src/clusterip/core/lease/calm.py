"""When a message leaves all as it is: then nothing need be settled anew.

Of 300 messages a second nearly all say what their senders said before, and renew: a promise, a
lease, a life. What `settling` makes of that is what it made before, as long as no time passes at
which something ends or begins. Nothing is put off by this: wherever settling would do anything, to
a lease, a bucket, the deadline or what is said, it is done, for this message and now. So what is
argued of a node that settles upon each message is so of this one.

1. Calm is only a node that serves what it is to serve and nothing else: it takes nothing, drains
   nothing, watches and keeps no flows, waits for no bucket, announced no grace, stood not still,
   has one set of voters, is not one of two, and all whom it hears go with it. So what others heard
   (`others`), who goes on alone (`pair`), and what nobody asks for (`orphans`) play no part.
2. Its leases end when they did (`Holder.is_same`): a message that moves one is settled. So a node
   that is cut off, whose leases nobody moves, is calm until the first of them is about to end, no
   longer; and its timer, which settles always, goes off before that.
3. The times at which something follows by itself are known: those at which leases count no longer
   as fresh, or are over; a round of asking ends; the others of promises, lives and versions spoken,
   which renewals put off, are asked for each message.
4. Of others nobody came, went, or has or wants something else (`Living.turns`); of promises none is
   to be given (`Voter.may_give`).
5. All else that happens to a node is settled, by whatever it is told.
"""

from __future__ import annotations

from clusterip.core.lease import asking, contact, pair
from clusterip.core.lease.node_state import State


def is_calm(state: State, now: int) -> bool:
    """Return whether settling would change nothing `now`, ns, after a message that was taken in.

    If so, it is as if it had been.
    """
    attention, votes = state.attention, state.votes
    if (
        now >= attention.calm_until
        or now - attention.armed > state.timing.lease // 4
        or now - attention.last_input > 2 * state.timing.interval
        or now >= votes.voter.all_stand_until
        or votes.voter.may_give
        or now >= state.hearing.peers.alive.holds_until
        or state.hearing.peers.alive.turns != state.plan.turn
        or now >= state.voice.spoken.holds_until
        or not votes.holder.is_same(votes.voters.quorums)
    ):
        return False
    attention.last_input = now
    return True


def lasts(state: State, ends: list[tuple[int, int]], now: int) -> int:
    """Return until when, ns, a node that was settled `now` is calm, 0 if it is not.

    `ends` are the ends of its leases.
    """
    kernel, plan, interval = state.kernel, state.plan, state.timing.interval
    busy = (
        kernel.taking
        or kernel.draining
        or kernel.watching
        or kernel.is_shut
        or plan.intent != kernel.open
        or plan.living_ask & kernel.open
        or plan.backoff.given_up
        or not plan.orphans.idle
        or not state.flows.idle
        or state.grace.asked
        or state.votes.voters.before
        or state.hearing.disagreeing
        or now < state.attention.plan_from
        or pair.is_of_two(state)
    )
    if busy or not (asking.may_serve(state, now) and contact.is_ready(state, now)):
        return 0
    times = [end - interval if end - interval > now else end for end, _ in ends if end > now]
    return min([*times, state.votes.contact_until - interval, plan.backoff.round_ends])
