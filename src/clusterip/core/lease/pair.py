"""What one of two hosts may do without the other, where `quorum = "alive"` lets it.

Of two none is a majority. The survivor goes on alone when the other was silent for long enough;
who hears the other, which does not hear it, serves nothing, for that one goes on alone. Where both
directions of the network are cut both serve: nobody can tell that from a death.

Why never both do where one of them is heard:

1. Who is heard is not silent, whatever it is that is heard: an incarnation that is not proven, for
   it does not hear us; or messages in a version that is not read here (`_speaks_unread`). Of two
   that cannot read one another each is heard by the other, and neither knows whether it is: so
   neither serves. And who announced a grace, proven or not, may serve while it is silent for that.
2. An incarnation that is not proven, and began lately, is no reason to stop (`_is_unheard_by`): it
   listens for the longest grace, R, before it goes on alone, or for D where it heard us. How long
   ago it began is known by when it was heard first, and by how many messages it has sent.
3. Who goes on beside one that speaks has a lease of it all the same, `alone_until`. That one goes
   on D after it heard us last, or R after it began: so until L after we sent what it echoes, or
   until a little less than R after it began, it does not. An echo counts, and not that it is
   excused: one that announced a grace may have gone deaf since (`contact.hears_until`). As with
   the leases of others the kernel stops by then, though our daemon does not run.
4. What counts as an echo is what we sent: no recording of another incarnation has it.
"""

from __future__ import annotations

from clusterip.core.lease import contact
from clusterip.core.lease.node_state import State
from clusterip.core.lease.peers import Peer, Unproven
from clusterip.core.lease.voter_set import Quorum
from clusterip.core.messages.message import Message


def quorums(state: State, now: int) -> list[Quorum]:
    """Return the sets of voters and how many of each must grant."""
    if serves_alone(state, now):
        return [(frozenset({state.me}), 1)]
    return state.votes.voters.quorums


def serves_alone(state: State, now: int) -> bool:
    """Return whether this node is one of two that may go on alone, and does."""
    return is_of_two(state) and _alone(state, now)


def is_of_two(state: State) -> bool:
    """Return whether this node is one of two, either of which may go on alone."""
    voters = state.votes.voters.voters
    return state.config.alive and len(voters) == 2 and state.me in voters


def alone_until(state: State, now: int) -> int | None:
    """Return until when, ns, this node may go on alone beside the other of two, which speaks.

    None where it hears nothing of it.
    """
    if not serves_alone(state, now):
        return None
    ends = [
        _echoed_until(state, one) if one.echo else _listens_until(state, one)
        for one in _speaking_anew(state, now)
    ]
    if _newest(state, now) and not _silent(state, now):
        ends.append(_other(state).hears_until)
    return min(ends, default=None)


def _echoed_until(state: State, one: Unproven) -> int:
    """Return until when, ns, it counts that an incarnation says to have heard us."""
    sent = state.votes.holder.sent.get(one.echo)
    return sent.at + sent.lease if sent else 0


def _alone(state: State, now: int) -> bool:
    """Return whether the other of two is gone, as far as can be known without a third."""
    if _has_third(state) or state.votes.voters.before:
        return False
    if state.plan.lone or _silent(state, now):
        return True
    # It speaks but may not serve with us: who served before it came goes on.
    newest = _other(state).newest
    if newest is None or newest.held or contact.agrees(state, newest):
        return False
    return state.plan.incumbent and not _goes_on_unheard(state, now)


def _has_third(state: State) -> bool:
    """Return whether the other of two may serve with a third, which is not in our file yet.

    It has the set after ours; or, started anew with that, hears somebody else, with whom it
    waits for as long as we serve (`_barred`).
    """
    newest = _other(state).newest
    if newest is None or newest.voters == state.votes.voters.digest:
        return False
    if newest.previous == state.votes.voters.digest:
        return True
    others = any(one.known and one.node != state.me for one in newest.heard)
    return others and not state.kernel.open


def _other(state: State) -> Peer:
    return state.hearing.peers.all.get(_name_of_other(state)) or Peer()


def _newest(state: State, now: int) -> Message | None:
    """Return what the other of two said last, where it was heard of late."""
    peer = _other(state)
    return peer.newest if peer.heard_at + state.promise_length > now else None


def _speaking_anew(state: State, now: int) -> list[Unproven]:
    """Return the incarnations of the other of two that are not proven, and may be there.

    They speak, or said that they are silent in a planned restart.
    """
    return [
        one
        for one in _other(state).unproven.values()
        if one.spoke_at and max(one.spoke_at + state.promise_length, one.excused_until) > now
    ]


def _speaks_unread(state: State, now: int) -> bool:
    """Return whether the incarnation that we know speaks in a version that is not read here."""
    peer = _other(state)
    return bool(peer.unread_at) and peer.unread_at + state.promise_length > now


def _name_of_other(state: State) -> int:
    (other,) = state.votes.voters.voters - {state.me}
    return other


def _silent(state: State, now: int) -> bool:
    """Return whether we listened to the other of two for long enough, and heard nothing."""
    peer = _other(state)
    listened = now - state.attention.since
    if _speaks_unread(state, now) or _unheard_anew(state, now):
        return False
    other = _name_of_other(state)
    if state.hearing.namesake.may_serve(now=now) or state.hearing.namesake.hears(
        other, peer.incarnation, peer.sequence, now=now
    ):
        return False
    if not peer.excused_until:
        # It may be in a planned restart that it announced before we came.
        return listened >= state.votes.voter.length(state.timing.restart)
    quiet_from = peer.excused_until
    if peer.farewell_at:
        # Whatever it had asked for before, a grace too: it closed all, and so asked no more.
        quiet_from = peer.farewell_at + 3 * state.timing.interval
    return listened >= state.promise_length and now >= quiet_from


def missed_grace(state: State, since: int, now: int) -> bool:
    """Return whether the other of two may have announced a grace since we heard nothing, ns.

    It goes on alone first: D after it heard us last; or, where it was not there, only after it
    began, and listened for the longest grace.
    """
    if not is_of_two(state):
        return False
    peer = _other(state)
    if max(peer.heard_at, peer.spoke_at) + state.promise_length > since:
        return now - since > state.promise_length - 2 * state.timing.interval
    return now - since > state.timing.restart


def await_grace(state: State, now: int) -> None:
    """Take the silence of the other of two for death only after the longest grace."""
    begins = now + state.votes.voter.length(state.timing.restart) - state.promise_length
    state.attention.since = max(state.attention.since, begins)


def _begins(state: State, now: int) -> bool:
    """Return whether the other of two hears us, and has neither a bucket nor a vote to give.

    Its daemon was started anew: its kernel answers nothing, and it does not go on alone.
    """
    newest, peer = _newest(state, now), _other(state)
    # That it is excused is no proof: it may have gone deaf since, and be about to go on alone.
    hears_us = peer.hears_us and now < peer.hears_until
    return bool(newest and hears_us and contact.agrees(state, newest) and not newest.claims)


def knows_of_grace(state: State, now: int) -> bool:
    """Return whether the other of two, if it hears us, has heard of our grace.

    It would take our silence for death. Who serves alone does not need its word else.
    """
    if not serves_alone(state, now):
        return True
    peer = _other(state)
    # It may take us in before we do so with its new incarnation.
    if any(one.echo < state.grace.sequence for one in _speaking_anew(state, now)):
        return False
    if peer.farewell_at:
        return True
    # In a restart of its own it is silent, and comes back.
    ended = max(peer.heard_at + state.promise_length, peer.excused_until) <= now
    if peer.newest is not None and peer.hears_us and not ended:
        return peer.newest.heard_of(*state.myself) >= state.grace.sequence
    # It may hear us though we do not hear it. Said again until our silence would have counted
    # as death, the grace reaches it: one message may be lost, or find its link down.
    return now >= state.grace.sent_at + state.promise_length


def _goes_on_unheard(state: State, now: int) -> bool:
    """Return whether the other of two is heard, does not hear us, and may go on alone for that.

    It does so D after it heard us last. Where it never did, it listens for the longest grace
    first.
    """
    if _unheard_anew(state, now):
        return True
    if _newest(state, now) is None:
        return _speaks_unread(state, now)
    return not _speaking_anew(state, now) and now >= _other(state).hears_until


def _unheard_anew(state: State, now: int) -> bool:
    """Return whether an incarnation of the other that is not proven may serve for want of our word.

    One that began lately does not: it listens first. Nor does one that heard us of late.
    """
    return any(one.serves or _is_unheard_by(state, one, now) for one in _speaking_anew(state, now))


def _is_unheard_by(state: State, one: Unproven, now: int) -> bool:
    if one.echo:
        return now >= _echoed_until(state, one)
    return now >= _listens_until(state, one)


def _listens_until(state: State, one: Unproven) -> int:
    """Return until when, ns, an incarnation that does not hear us listens, at least.

    It says something each interval at least, from its start on; what it says sooner only makes it
    seem older. What it says takes less than an interval to come.
    """
    began = min(one.seen_at, one.spoke_at - one.sequence * state.timing.interval)
    return began + state.timing.restart - state.timing.interval


def note_lone(state: State, now: int) -> None:
    """Decide whether to go on alone although the other of two is heard again.

    It may not have a vote to give yet, and without ours it gets nothing, since it hears us.
    So what we hold stays ours until it grants that, or holds something itself. That is all
    there is: who goes on alone has lost what it had, and takes everything at once.
    """
    if not is_of_two(state):
        state.plan.lone = False
    elif not state.kernel.open:
        # What we had is over for want of its word, and it did not have the time to go on alone.
        ended_at = _other(state).ended_at
        young = ended_at and now < ended_at + state.votes.voter.length(state.timing.restart)
        state.plan.lone = bool(state.plan.incumbent and young) and _begins(state, now)
    elif _goes_on_unheard(state, now) or _has_third(state):
        state.plan.lone = False
    elif _silent(state, now) or _begins(state, now):
        state.plan.lone = True
    elif state.plan.lone:
        peer, heard = _other(state), _newest(state, now)
        granted = 0
        for end, buckets in state.votes.holder.ends(state.votes.voters.quorums):
            # What one granted that ended is not renewed.
            if end >= now + state.timing.interval and not peer.farewell_at:
                granted |= buckets
        # Late for less than a lease we missed nothing that ends it: the other could not begin
        # to serve in that time.
        listened = now - state.attention.since >= state.promise_length
        served = now < state.kernel.deadline and not state.kernel.is_shut
        state.plan.lone = (
            (listened or served)
            and not (heard and heard.held)
            and bool(state.kernel.open & ~granted)
        )
    if state.plan.lone:
        # Or the plan would give half of all to another newcomer, which has no vote yet.
        state.attention.ready_at = min(state.attention.ready_at, now)
