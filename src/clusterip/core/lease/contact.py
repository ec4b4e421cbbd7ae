"""Who hears whom, and what may count of it: rules over the state, each a small function."""

from __future__ import annotations

from clusterip.core.lease.node_state import State
from clusterip.core.lease.peers import Peer
from clusterip.core.messages.message import Message
from clusterip.core.serving.other import Other


def same(state: State, message: Message) -> bool:
    """Return whether the buckets of the sender are the same as ours."""
    return message.config == state.config.config


def agrees(state: State, message: Message) -> bool:
    """Return whether we may grant to the sender and count its grants."""
    return same(state, message) and state.votes.voters.near(message)


def sent_lately(state: State, sequence: int, now: int) -> bool:
    """Return whether we sent that message less than L ago: who heard it hears us."""
    sent = state.votes.holder.sent.get(sequence)
    return sent is not None and sent.at + state.timing.lease > now


def hears_us(state: State, message: Message, now: int) -> bool:
    """Return whether the sender lately heard us: it echoes what we sent less than L ago.

    If it does not, any lease that our vote gave it is over, however late this comes.
    """
    echoed = message.heard_of(*state.myself)
    if sent_lately(state, echoed, now):
        return True
    peer = state.hearing.peers.all[message.sender]
    # Nobody can have heard us, or we it, in a planned restart: of ours, or of its own.
    since, until = state.grace.resumed
    return (echoed >= since and now < until) or is_excused(state, peer, now)


def hears_until(state: State, message: Message, now: int) -> int:
    """Return until when, ns, its sender goes on alone for no want of our word, as it shows now.

    It does so D after it heard us last, or after the grace that we announced: what it echoes was
    sent before, so what we asked for then is a lease that its word gives us. In a planned restart
    it is silent, for the grace that it announced while it heard us; and its successor begins to
    listen when it is heard again, and not before.
    """
    peer, timing = state.hearing.peers.all[message.sender], state.timing
    echoed, resumed = message.heard_of(*state.myself), state.grace.resumed
    sent = state.votes.holder.sent.get(echoed)
    until = sent.at + sent.lease if sent else 0
    if not sent and echoed >= resumed[0]:
        until = resumed[1]
    if until > now:
        return until + message.grace
    restarted = (
        message.incarnation == peer.incarnation
        and peer.newest is not None
        and peer.newest.grace
        and peer.heard_at + 3 * timing.interval < now < peer.hears_until
    )
    return now + timing.lease if restarted else until


def doubled(state: State, node: int, now: int) -> bool:
    """Return whether others hear another incarnation of `node` than the one known here.

    Its vote would count twice: of two majorities each could have one of them.
    """
    if node == state.me:
        elsewhere = state.hearing.indirect.another(*state.myself)
        return elsewhere > now - state.promise_length
    peer = state.hearing.peers.all[node]
    elsewhere = state.hearing.indirect.another(node, peer.incarnation)
    if not elsewhere:
        return False
    # A grace may bind whom that one heard. What was said before is of the incarnation before.
    since = max(now - state.votes.voter.length(state.timing.restart), peer.seen_at)
    return elsewhere > since


def claims(state: State) -> bool:
    """Return whether this node serves anything, or has promised anything."""
    promised = any(promise.buckets for promise in state.votes.voter.promises.values())
    return bool(state.kernel.open | state.kernel.draining) or promised


def barred(state: State, now: int) -> bool:
    """Return whether another daemon has the vote and the place of this node: see `namesake`."""
    return now < state.hearing.namesake.barred_until


def is_excused(state: State, peer: Peer, now: int) -> bool:
    """Return whether a peer may be in a planned restart that it announced to us."""
    return peer.excused_until > max(now, peer.heard_at + state.promise_length)


def speaking(state: State, now: int) -> dict[int, bool]:
    """Return of each node that is heard, proven or not, whether it hears us."""
    found = {}
    for node, peer in state.hearing.peers.all.items():
        if peer.newest and peer.heard_at + state.promise_length > now:
            # One that is doubled may hear us, and counts for nothing all the same.
            found[node] = peer.hears_us or doubled(state, node, now)
        elif any(
            one.spoke_at
            and max(one.spoke_at + state.promise_length, one.excused_until) > now
            and not one.unread
            for one in peer.unproven.values()
        ):
            found[node] = False
    return found


def unread(state: State, now: int) -> set[int]:
    """Return the nodes that speak, and only in versions that are not read here."""
    speaking_too = speaking(state, now)
    return {
        node
        for node, peer in state.hearing.peers.all.items()
        if node not in speaking_too
        if peer.spoke_at and peer.spoke_at + state.promise_length > now
    }


def left(peer: Peer) -> bool:
    """Return whether a node said that it answers nothing any more, and wants to."""
    newest = peer.newest
    return newest is not None and newest.leaving and not newest.want | newest.draining


def all_left(state: State) -> bool:
    """Return whether every other node did: that none is heard has no other cause."""
    peers = state.hearing.peers.all
    others = state.votes.voters.known - {state.me}
    return all(node in peers and left(peers[node]) for node in others)


def heard_by(state: State, node: int, now: int) -> list[int]:
    """Return whom a node hears, as it or they said lately."""
    return who_hears(state, now).get(node, [])


def who_hears(state: State, now: int) -> dict[int, list[int]]:
    """Return of each node whom it hears, as it or they said lately.

    Of one that does not prove itself it is what it says, which may be recorded: only to tell
    administrators where to look.
    """
    since = now - state.promise_length
    heard = state.hearing.indirect.who_hears(since=since)
    for node, peer in state.hearing.peers.all.items():
        if peer.unproven:
            heard.setdefault(node, set()).update(peer.claims(since=since) - {state.me})
    return {node: sorted(others) for node, others in heard.items()}


def in_contact(state: State, now: int) -> bool:
    """Return whether a majority of the voters hears us and is heard."""
    return now < state.votes.contact_until


def to_remind(state: State) -> list[int]:
    """Return the nodes that this one is to say its last message to, often.

    They are silent, and may believe that they hold buckets: a machine that stood still and
    goes on must soon be shown that others went on before (`standstill`). Two of us do it.
    """
    heard = state.hearing.heard
    if state.voice.gone or state.own.stopped or state.me not in sorted({state.me, *heard})[:2]:
        return []
    return [
        node
        for node, peer in state.hearing.peers.all.items()
        if peer.newest and peer.newest.want | peer.newest.draining
        if node in state.votes.voters.known and node not in heard
    ]


def is_ready(state: State, now: int) -> bool:
    """Return whether this node was there for long enough to take buckets from others.

    Without a vote of its own it might not get those that they give up for it.
    """
    able = state.own.link and in_contact(state, now) and not state.votes.voter.muted(now)
    return able and now >= state.attention.ready_at


def as_other(message: Message) -> Other:
    """Return what a message says that its sender has, asks for and is fit for."""
    return Other(
        (message.sender, message.incarnation, message.sequence),
        message.want,
        message.held,
        message.draining,
        message.flows,
        message.weight,
        message.healthy,
        message.leaving,
        message.ready,
    )
