"""What follows from what the clocks of others show: see `standstill`."""

from __future__ import annotations

from collections.abc import Iterable

from clusterip.core.lease import listening, settling
from clusterip.core.lease.node_state import State
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Alarm, AlarmKind


def heed(state: State, messages: Iterable[Message], *, now: int) -> None:
    """Take in what the senders' clocks showed: of all that came together, before the rest.

    What was heard before is nothing to go by, whoever says it again: it shows an old clock.
    """
    known = state.hearing.peers.all
    news = [
        message
        for message in messages
        if (peer := known.get(message.sender)) is not None
        and message.incarnation == peer.incarnation
        and message.sequence > peer.sequence
    ]
    heed_clocks(state, news, 0, now)


def heed_clocks(state: State, messages: Iterable[Message], stood: int, now: int) -> None:
    """Take in the clocks of messages that are new; that we stood still is known of `stood`."""
    heeded = set()
    for message in messages:
        sender = message.sender
        stood += state.hearing.standstill.heed(sender, message.incarnation, message.clock, now=now)
        heeded.add(sender)
    if stood:
        _stood_still(state, stood, now)
    # After the kernel's deadline is cut: a greater lead alone would show it to be later.
    for sender in sorted(heeded):
        lead = state.hearing.standstill.leads[sender]
        state.kernel.follow(sender, lead.incarnation, lead.ahead, slack=state.timing.standstill)


def _stood_still(state: State, stood: int, now: int) -> None:
    """Shorten the leases from before our clock stood still for `stood`, ns.

    It may be only the beginning of what we learn: the messages that came together are the
    oldest of those that wait. So nothing is answered until a majority has heard a message of
    now: what it says comes after all that waits.
    """
    state.votes.holder.cut(stood)
    for peer in state.hearing.peers.all.values():
        peer.hears_until -= stood
    listening.listen_for_grace(state, now, since=now - stood)
    if stood > state.timing.standstill:
        state.votes.holder.doubt()
        state.kernel.shut()
        state.voice.changed = True
    if stood > state.timing.lease // 4:
        state.kernel.actions.append(Alarm(AlarmKind.STOOD_STILL, 0, stood))
    settling.settle(state, now)
