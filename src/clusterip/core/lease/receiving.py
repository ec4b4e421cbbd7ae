"""What becomes of a message that was received."""

from __future__ import annotations

from clusterip.core.lease import calm, contact, heeding, pair, restarting, settling, speech
from clusterip.core.lease.node_state import State
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Alarm, AlarmKind, Reception, SetBack


def receive(state: State, message: Message, *, now: int) -> Reception:
    """Take in a message whose MAC and bounds were checked; say what became of it."""
    sender = message.sender
    if sender == state.me:
        _hear_namesake(state, message, now)
        return Reception.OWN
    if sender not in state.votes.voters.known:
        return Reception.STRANGER
    verdict = _judge(state, message, now)
    return _take_in(state, message, now) if verdict is Reception.ACCEPTED else verdict


def _judge(state: State, message: Message, now: int) -> Reception:
    """Decide whether a message is new, said by who lives, and none that shows us to be set back."""
    peers, sender = state.hearing.peers, message.sender
    peer = peers.learn(sender)
    if message.incarnation == peer.incarnation:
        elsewhere = 0  # it is asked of others only
    else:
        elsewhere = state.hearing.indirect.another(sender, message.incarnation)
    new = message.incarnation not in peer.unproven
    excused_until = now + state.votes.voter.length(message.grace)
    verdict = peers.judge(
        message, state.voice.sequence, elsewhere=elsewhere, excused_until=excused_until, now=now
    )
    if verdict is Reception.UNPROVEN:
        state.voice.spoken.claim(sender, message.speaks, now=now)
        if new:
            speech.answer(state, now)
    heard = message.heard_of(*state.myself)
    if verdict is Reception.ACCEPTED and heard > state.voice.sequence:
        _set_back(state, sender, heard, now)
        return Reception.AHEAD
    return verdict


def _take_in(state: State, message: Message, now: int) -> Reception:
    """Take in a message that was judged new."""
    sender, hearing, votes = message.sender, state.hearing, state.votes
    peer = hearing.peers.learn(sender)
    state.voice.spoken.hear(sender, message.speaks, now=now)
    agrees = contact.agrees(state, message)
    doubled = peer.incarnation == message.incarnation and contact.doubled(state, sender, now)
    hears_us = contact.hears_us(state, message, now) and not (doubled or contact.barred(state, now))
    serves = agrees and sender in votes.voters.voters
    grantee = (sender, message.incarnation)
    votes.voter.hear(grantee, message.want, message.grace, renews=serves and hears_us, now=now)
    excused_until = now + votes.voter.length(message.grace)
    if message.grace:
        restarting.note(state, excused_until, sender)
    known, stood = peer.newest, 0
    if message.held & state.kernel.open and pair.serves_alone(state, now):
        # Each took the other for dead: the network between them was cut.
        both = now - peer.heard_at - state.promise_length
        if peer.heard_at and both > 0:
            state.kernel.actions.append(Alarm(AlarmKind.BOTH_SERVED, sender, both))
    if peer.incarnation and message.incarnation != peer.incarnation:
        stood = hearing.standstill.succeed(
            sender, message.incarnation, message.clock, heard_at=peer.heard_at, now=now
        )
    hearing.peers.accept(
        message,
        hears_us=hears_us,
        hears_until=contact.hears_until(state, message, now),
        alive_until=excused_until if serves else 0,
        excused_until=excused_until,
        now=now,
    )
    # The clocks first: a lease from before our own stood still must not be renewed.
    heeding.heed_clocks(state, [message], stood, now)
    hearing.indirect.take(message, same=contact.same(state, message), now=now)
    if agrees:
        hearing.disagreeing.discard(sender)
        _acknowledged(state, message, counts=not doubled)
    else:
        hearing.disagreeing.add(sender)
        _disagree(state, message, known)
    if not (agrees and calm.is_calm(state, now)):
        settling.settle(state, now)
    return Reception.ACCEPTED if agrees else Reception.MISMATCH


def receive_unread(state: State, head: Message, *, now: int) -> None:
    """Take in that a message came in a version that is not spoken here; of it `head` is known."""
    if head.sender not in state.votes.voters.known or head.sender == state.me:
        return
    state.voice.spoken.claim(head.sender, head.speaks, now=now)
    excused_until = now + state.votes.voter.length(head.grace)
    state.hearing.peers.hear_unread(
        head, state.voice.sequence, excused_until=excused_until, now=now
    )
    settling.settle(state, now)


def bar(state: State, *, now: int) -> None:
    """Leave the place of this node to another daemon: somebody whom it hears said so."""
    until = now + state.votes.voter.length(state.timing.restart)
    state.hearing.namesake.barred_until = until
    state.votes.voter.mute_until = max(state.votes.voter.mute_until, until)
    settling.settle(state, now)


def _hear_namesake(state: State, message: Message, now: int) -> None:
    """Take in a message in our own name."""
    if message.incarnation == state.voice.incarnation:
        # What comes back to us is no news.
        if message.sequence > state.voice.sequence:
            _set_back(state, message.sender, message.sequence, now)
        return
    hears_us = contact.sent_lately(state, message.heard_of(*state.myself), now)
    verdict, new = state.hearing.namesake.receive(
        message, state.voice.sequence, hears_us=hears_us, now=now
    )
    if verdict is Reception.UNPROVEN and new:
        speech.answer(state, now)
    if verdict is Reception.ACCEPTED and (message.claims or not contact.claims(state)):
        bar(state, now=now)


def _set_back(state: State, teller: int, sequence: int, now: int) -> None:
    """Close all and say nothing more: our memory was saved, brought back later, or copied."""
    state.voice.gone = True
    state.kernel.reset(state.config.total)
    # Promises are lost, as in a reboot.
    restarting.note(state, now + state.votes.voter.length(state.timing.restart))
    state.kernel.actions.append(SetBack(teller, sequence, state.voice.sequence))


def _acknowledged(state: State, message: Message, *, counts: bool) -> None:
    """Take in what the sender acknowledges of ours, and grants."""
    sequence = message.acknowledged(*state.myself)
    if sequence and counts:
        state.votes.holder.acknowledge(
            message.sender, sequence, _granted(state, message),
            at_least=message.grace, said=message.sequence,
        )  # fmt: skip
    sent = state.votes.holder.sent.get(message.heard_of(*state.myself))
    # It had heard that we hold these when it said that it does.
    both = message.held & state.kernel.open & (sent.held if sent else 0)
    if both:
        state.kernel.actions.append(Alarm(AlarmKind.TWO_OWNERS, message.sender, both))


def _granted(state: State, message: Message) -> int:
    """Return what the sender grants to us: the same as before, as a rule."""
    peer = state.hearing.peers.all[message.sender]
    if peer.grants is not message.grants:
        peer.grants, peer.granted = message.grants, message.granted_to(state.me)
    return peer.granted


def _disagree(state: State, message: Message, known: Message | None) -> None:
    """Tell of a sender that cannot serve with us; `known` is what it said before."""
    if message.held and state.kernel.open and message.sender < state.me:
        state.plan.incumbent = False
    if known is None or (known.config, known.voters) != (message.config, message.voters):
        other = message.config if message.config != state.config.config else message.voters
        state.kernel.actions.append(Alarm(AlarmKind.MISMATCH, message.sender, other))
