"""Who was heard: which message is new, which is a replay, and who lives.

Per sender the sequence rises strictly within one incarnation. An incarnation that we do not know
counts only once it echoes a message that we sent after we first saw it: what an attacker recorded
earlier cannot contain that, so no old incarnation ever comes back to life. Until then a message
changes nothing here but the echo we owe its sender, so that two nodes that know nothing of one
another can prove themselves to each other. Several incarnations of one node that did not prove
themselves, such as replays, get it in turn.

A node that runs twice, by a file that was copied, would vote twice. So an incarnation does not take
the place of one that lives: of one that was heard, here or by others, since the other was seen
first, before it was silent for D, and any grace that it announced is over. Where nothing was heard
of it, for as long as it would have spoken meanwhile, it is over. (By the clock of the one that
speaks: if our machine stood still, others may all be new, and are to be believed at once.)

What one of two may do alone goes by who may serve, proven or not (`pair`). So of an incarnation
that is not proven it is noted when it spoke, and until when it may be silent for a grace that it
announced. Each of its messages counts once, and only while its clock goes on as ours does: so
recordings count for as long as they were recorded, and for one grace more. A message in a version
that is not read here has all this in its head: its sender is heard, and not understood.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from clusterip.core.lease.living import Living
from clusterip.core.messages.message import Heard, Message
from clusterip.core.serving.actions import Reception

_UNPROVEN_INCARNATIONS: Final = 1024
"""How many of one node are remembered; of more, those that said something new last.

What was recorded of more, and is sent again fast enough, keeps an incarnation from proving
itself."""


class Unproven:
    """An incarnation of which it is not known whether it lives."""

    __slots__ = (
        "challenge",
        "clock",
        "echo",
        "echoed_at",
        "excused_until",
        "hears",
        "seen_at",
        "sequence",
        "serves",
        "spoke_at",
        "unread",
        "voters",
    )

    def __init__(self, challenge: int, clock: int, now: int) -> None:
        self.challenge = challenge
        """Our sequence that it must echo."""
        self.clock = clock
        """What its clock showed when it was seen first, ns."""
        self.seen_at = now
        self.sequence = 0
        self.spoke_at = 0
        """When it said last, ns, what it had not said before, as soon as it could."""
        self.echoed_at = -1
        self.hears: frozenset[int] = frozenset()
        """Whom it said that it hears."""
        self.echo = 0
        """Our newest sequence that it said to have come, taken in or not."""
        self.serves = False
        """Whether it said that it holds anything."""
        self.excused_until = 0
        """Until when, ns, it may be silent for a grace that it announced."""
        self.voters = 0
        """The digest of the voters that it said to go by, 0 where nothing was read."""
        self.unread = False
        """Whether its newest message was in a version that is not read here."""


class Peer:
    """What is known of one sender. 0 stands for none."""

    __slots__ = (
        "alive_until",
        "bound_until",
        "ended_at",
        "excused_until",
        "farewell_at",
        "former",
        "granted",
        "grants",
        "heard_at",
        "hears_until",
        "hears_us",
        "incarnation",
        "newest",
        "seen_at",
        "sequence",
        "unproven",
        "unread",
        "unread_at",
    )

    def __init__(self) -> None:
        self.incarnation = 0
        self.seen_at = 0  # first, in that incarnation
        self.ended_at = 0  # when the incarnation before was heard last
        self.sequence = 0  # of the newest message, which only a predecessor may have
        self.newest: Message | None = None
        self.hears_us = False  # as its newest message shows
        self.hears_until = 0  # until then it does not go on alone: `contact.hears_until`
        self.grants: tuple[tuple[int, int], ...] = ()  # all that it granted last that counted,
        self.granted = 0  # and the mask of what of that was granted to us
        self.heard_at = 0
        self.alive_until = 0
        self.excused_until = 0  # until then its silence means nothing
        self.bound_until = 0  # and until then, what it heard before its restart counts
        self.farewell_at = 0  # when it said that it is drained or stops, and answers nothing
        self.former: set[int] = set()  # incarnations that are over
        self.unproven: dict[int, Unproven] = {}
        self.unread = 0  # sequence of the newest message of that incarnation that was not read
        self.unread_at = 0  # when it came

    @property
    def spoke_at(self) -> int:
        """When something new last came that was not taken in, ns: not proven, or not read."""
        return max(self.unread_at, max((one.spoke_at for one in self.unproven.values()), default=0))

    def claims(self, *, since: int) -> frozenset[int]:
        """Return whom its unproven incarnations said that they hear, after `since`, ns."""
        heard = [one.hears for one in self.unproven.values() if one.spoke_at > since]
        return frozenset().union(*heard)


class Peers:
    """All senders, seen by `incarnation` of `me`; who was silent for `promise_length`, ns, is gone.

    Who lives says something within `awaited`, ns.
    """

    def __init__(self, me: int, incarnation: int, promise_length: int, awaited: int) -> None:
        self.me = me
        self.incarnation = incarnation
        self.promise_length = promise_length
        self.awaited = awaited
        self.all: dict[int, Peer] = {}
        self.alive = Living()
        self._former: list[tuple[Message, int]] = []
        """What those forgotten, and former incarnations, said last, and until when, ns, they may
        answer packets."""

    def learn(self, node: int) -> Peer:
        """Return what is known of `node`."""
        peer = self.all.get(node)
        if peer is None:
            peer = self.all[node] = Peer()
        return peer

    def take_up(self, node: int, incarnation: int, sequence: int, excused_until: int) -> None:
        """Take up what a predecessor knew of `node`."""
        peer = self.learn(node)
        peer.incarnation, peer.sequence = incarnation, sequence
        peer.excused_until = peer.bound_until = excused_until

    def judge(
        self,
        message: Message,
        sequence: int,
        *,
        elsewhere: int,
        excused_until: int = 0,
        now: int,
    ) -> Reception:
        """Decide whether `message` is new; `sequence` is that of the newest message we sent.

        `elsewhere` is when, ns, others last said to have heard another incarnation of its sender.
        Where that is not proven, its silence is no death before `excused_until`, ns.
        """
        peer = self.learn(message.sender)
        if message.incarnation == peer.incarnation:
            return Reception.ACCEPTED if message.sequence > peer.sequence else Reception.REPLAYED
        over = message.incarnation in peer.former
        incarnation = peer.unproven.get(message.incarnation)
        if incarnation is None:
            challenge = sequence + 1
            incarnation = Unproven(challenge, message.clock, now)
            if not over:
                self._remember(peer, message.incarnation, incarnation)
        heard_at = max(peer.heard_at, elsewhere)
        if self.proves(message, incarnation.challenge) and self.replaces(
            message, incarnation, heard_at, now=now
        ):
            return Reception.ACCEPTED
        if over:
            return Reception.REPLAYED
        if message.sequence > incarnation.sequence:
            self._note_unproven(message, incarnation, excused_until, now)
            incarnation.unread = False
            incarnation.hears = frozenset(one.node for one in message.heard if one.known)
            incarnation.echo = message.heard_of(self.me, self.incarnation)
            incarnation.serves = bool(message.held)
            incarnation.voters = message.voters
        return Reception.UNPROVEN

    def _note_unproven(
        self, message: Message, unproven: Unproven, excused_until: int, now: int
    ) -> None:
        unproven.sequence = message.sequence
        # Recordings that are sent one by one, to last, show a clock that is slow.
        if message.clock - unproven.clock + self.promise_length >= now - unproven.seen_at:
            unproven.spoke_at = now
            if message.grace:
                unproven.excused_until = max(unproven.excused_until, excused_until)

    def hear_unread(self, head: Message, sequence: int, *, excused_until: int, now: int) -> None:
        """Note that a message came that is not read here; of `head` only its head is known.

        The rest is as in `judge`. It proves nothing, and is echoed as what is not proven is: its
        sender may read us, and learns so that we live and hear it.
        """
        peer = self.learn(head.sender)
        if head.incarnation == peer.incarnation:
            if head.sequence > max(peer.sequence, peer.unread):
                peer.unread, peer.unread_at = head.sequence, now
                if head.grace:
                    peer.excused_until = max(peer.excused_until, excused_until)
        elif head.incarnation not in peer.former:
            unproven = peer.unproven.get(head.incarnation)
            if unproven is None:
                unproven = Unproven(sequence + 1, head.clock, now)
                self._remember(peer, head.incarnation, unproven)
            if head.sequence > unproven.sequence:
                self._note_unproven(head, unproven, excused_until, now)
                unproven.unread = True

    @staticmethod
    def _remember(peer: Peer, incarnation: int, unproven: Unproven) -> None:
        if len(peer.unproven) == _UNPROVEN_INCARNATIONS:
            known = peer.unproven
            del known[
                min(known, key=lambda one: max(known[one].spoke_at, known[one].excused_until))
            ]
        peer.unproven[incarnation] = unproven

    def replaces(self, message: Message, unproven: Unproven, heard_at: int, *, now: int) -> bool:
        """Return whether any other incarnation of it, heard last at `heard_at`, ns, is over."""
        peer = self.all[message.sender]
        if heard_at > unproven.seen_at:
            return now >= max(heard_at + self.promise_length, peer.excused_until)
        shown = message.clock - unproven.clock
        waited = max(shown, now - unproven.seen_at) >= self.awaited
        # It has been silent since it announced a grace, as far as we know.
        borne = now < peer.excused_until and (not peer.newest or peer.newest.grace)
        return not peer.incarnation or (waited and not borne)

    def proves(self, message: Message, challenge: int) -> bool:
        """Return whether an unknown incarnation has heard what we sent since we first saw it."""
        return message.heard_of(self.me, self.incarnation) >= challenge

    def accept(
        self,
        message: Message,
        *,
        hears_us: bool,
        hears_until: int = 0,
        alive_until: int,
        excused_until: int,
        now: int,
    ) -> None:
        """Take in a message that was judged new.

        The sender counts as alive until `alive_until`, 0 if we cannot serve together; its silence
        is not taken for death until `excused_until`; it goes on alone after `hears_until`: all ns.
        """
        peer = self.all[message.sender]
        if message.incarnation != peer.incarnation:
            if peer.incarnation:
                peer.ended_at = peer.heard_at
                peer.former.add(peer.incarnation)
                # It may not be over yet: a double came while it was silent for a moment.
                self._note_former(peer, peer.heard_at + self.promise_length)
            peer.incarnation = message.incarnation
            proven = peer.unproven.get(message.incarnation)
            peer.seen_at = proven.seen_at if proven else now
            peer.unread = peer.unread_at = 0
            if proven:
                peer.excused_until = max(peer.excused_until, proven.excused_until)
            # What of them lives is to prove itself anew: it may be older.
            peer.unproven.clear()
        peer.newest = message
        peer.sequence = message.sequence
        peer.hears_us, peer.hears_until = hears_us, hears_until
        peer.heard_at = now
        peer.alive_until = alive_until
        self.alive.note(message, peer, now)
        peer.excused_until = max(peer.excused_until, excused_until)
        if message.grace:
            peer.bound_until = max(peer.bound_until, excused_until)
        peer.farewell_at = now if _is_farewell(message) else 0

    def lingering(self, told: Container[int] = (), *, now: int) -> list[Message]:
        """Return the newest message of each forgotten peer that may still answer packets.

        Of who is in `told` others tell that they hear it all the same.
        """
        self._former = [
            (message, until)
            for message, until in self._former
            if until > now or message.sender in told
        ]
        return [message for message, _ in self._former]

    def keep(self, nodes: frozenset[int], there: Container[int], *, until: int) -> None:
        """Forget all others: they are no voters any more, and are owed nothing.

        Those `there` may answer packets. By `until`, ns, nobody hears them any more, but of whom
        others still tell: `lingering`.
        """
        for node, peer in self.all.items():
            if node not in nodes and node in there:
                self._note_former(peer, until)
        self.all = {node: peer for node, peer in self.all.items() if node in nodes}
        self.alive.forget()

    def _note_former(self, peer: Peer, until: int) -> None:
        if peer.newest:
            self._former.append((peer.newest, max(until, peer.excused_until)))

    def owed(self, *, silent_since: int, now: int) -> tuple[Heard, ...]:
        """Return the echoes we owe.

        An unproven incarnation takes the place of the known one only when that has been silent
        since `silent_since`, ns: replays of an old incarnation must not cost a live peer its
        acknowledgements.
        """
        owed = []
        for node, peer in self.all.items():
            speaking = [
                (incarnation, one)
                for incarnation, one in peer.unproven.items()
                if one.spoke_at + self.promise_length > now
            ]
            if peer.newest and (peer.heard_at > silent_since or not speaking):
                acknowledged = peer.hears_us and peer.excused_until > now
                owed.append(Heard(node, peer.incarnation, peer.sequence, acknowledged=acknowledged))
            elif speaking:
                incarnation, one = min(speaking, key=lambda each: each[1].echoed_at)
                one.echoed_at = now
                owed.append(Heard(node, incarnation, one.sequence, known=False, acknowledged=False))
        # What we acknowledged of who was removed counts for a while: who never knew it learns that.
        removed = {
            message.sender: Heard(*message[:3], acknowledged=False)
            for message, until in self._former
            if until > now and message.sender not in self.all
        }
        return (*owed, *removed.values())

    def lately(self, *, since: int) -> dict[int, Message]:
        """Return the newest message of each peer heard after `since`, ns, whatever it says."""
        return {
            node: peer.newest
            for node, peer in self.all.items()
            if peer.newest and peer.heard_at > since
        }

    def heard(self, *, now: int) -> dict[int, Message]:
        """Return the newest message of each peer that lives, whether it hears us or not."""
        self.alive.look(self.all, now)
        return self.alive.heard

    def living(self, *, now: int) -> dict[int, Message]:
        """Return the newest message of each peer that lives and hears us."""
        self.alive.look(self.all, now)
        return self.alive.hear_us


def _is_farewell(message: Message) -> bool:
    """Return whether its sender is drained or stops, and answers nothing any more."""
    return message.leaving and not message.want | message.held | message.draining
