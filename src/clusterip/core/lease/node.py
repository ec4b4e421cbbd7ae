"""A node of the lease protocol: what comes in, what goes out. The package says why it is safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.serving import Serving
from clusterip.core.lease.succession import handed_over, take_up
from clusterip.core.lease.voter import Promise
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Versions
from clusterip.core.serving.actions import (
    Action,
    Alarm,
    AlarmKind,
    BucketState,
    Reception,
    SetBack,
)

__all__ = ["Node", "NodeConfig"]


class Node(Serving):
    """A node: receive a message, a message to send, next timer, handle timer, next event.

    `now` is CLOCK_BOOTTIME in ns, read after a datagram was read and before one is sent.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        incarnation: int = 0,
        mute: int = 0,
        handover: HandOver | None = None,
        now: int,
    ) -> None:
        """Start with a new memory `incarnation`, or with that of `handover`.

        `mute` is for how long (ns) promises of the lost memory may stand, if that is longer than
        D: until the latest Note, or the promise for a restart grace where the notes are lost too.
        """
        super().__init__(
            config,
            incarnation=handover.incarnation if handover else incarnation,
            mute=mute,
            now=now,
        )
        if handover:
            take_up(self, handover, now=now)
            self._remember(handover)
            self._settle(now)
        else:
            self.kernel.reset(config.total)

    # ---- the five verbs ----

    def receive(self, message: Message, *, now: int) -> Reception:
        """Take in a message whose MAC and bounds were checked; say what became of it."""
        sender = message.sender
        if sender == self.me:
            self._hear_namesake(message, now)
            return Reception.OWN
        if sender not in self.voters.known:
            return Reception.STRANGER
        peer = self.peers.learn(sender)
        new = message.incarnation not in peer.unproven
        elsewhere = self.indirect.another(sender, message.incarnation)
        verdict = self.peers.judge(message, self.sequence, elsewhere=elsewhere, now=now)
        if verdict is not Reception.ACCEPTED:
            if verdict is Reception.UNPROVEN:
                self.spoken.claim(sender, message.speaks, now=now)
            if new and verdict is Reception.UNPROVEN:
                self._answer(now)
            return verdict
        if message.heard_of(self.me, self.incarnation) > self.sequence:
            self._set_back(sender, message.heard_of(self.me, self.incarnation), now)
            return Reception.AHEAD
        self.spoken.hear(sender, message.speaks, now=now)
        agrees = self.agrees(message)
        doubled = peer.incarnation == message.incarnation and self.doubled(sender, now)
        hears_us = self.hears_us(message, now) and not (doubled or self.barred(now))
        serves = agrees and sender in self.voters.voters
        renews = serves and hears_us
        grantee = (sender, message.incarnation)
        self.voter.hear(grantee, message.want, message.grace, renews=renews, now=now)
        excused_until = now + self.voter.length(message.grace)
        if message.grace:
            self._note(excused_until, sender)
        known, stood = peer.newest, 0
        if peer.incarnation and message.incarnation != peer.incarnation:
            stood = self.standstill.succeed(
                sender, message.incarnation, message.clock, heard_at=peer.heard_at, now=now
            )
        self.peers.accept(
            message,
            hears_us=hears_us,
            alive_until=excused_until if serves else 0,
            excused_until=excused_until,
            now=now,
        )
        self._heed([message], stood, now)
        self.indirect.take(message, same=self._same(message), now=now)
        if agrees:
            self.disagreeing.discard(sender)
            self._acknowledged(message, counts=not doubled)
        else:
            self.disagreeing.add(sender)
            self._disagree(message, known)
            verdict = Reception.MISMATCH
        self._settle(now)
        return verdict

    def message_to_send(self, *, now: int) -> Message | None:
        """Return the message to send to all now, None if there is none.

        None while events are not taken: what a message says of the kernel must be so.
        """
        if self.gone or self.kernel.actions or now < self._send_at():
            return None
        self.sequence += 1
        want = self.intent | self.kernel.open
        lease = max(self.grace, self.timing.lease)
        contact = lease if self._grace_is_known(now) else self.timing.lease
        self.holder.say(self.sequence, want, self.kernel.open, lease, contact, now=now)
        self.last_sent = now
        self.advertised = self._saying(now)
        if self.grace and not self.announced:
            self.announced = True
            self.grace_sent_at = now
        me = (self.me, self.incarnation)
        self.voter.expire(now=now)
        if self.grace:
            self.voter.lend(self.grace, now=now)
            self.lent_until = now + self.voter.length(self.grace)
        self.voter.hear(me, want, self.grace, renews=self.me in self.voters.voters, now=now)
        self._give(now)
        self.changed = False
        for deaf in self.deafness.look(self.speaking(now), now=now):
            heard = len(self.heard_by(deaf, now))
            self.kernel.actions.append(Alarm(AlarmKind.DEAF, deaf, heard))
        message = self._message(now)
        if not self.doubled(self.me, now):
            self.holder.acknowledge(self.me, self.sequence, self.voter.granted(me))
        self._settle(now)
        return message

    def next_timer(self) -> int:
        """Return when to call `handle_timer`, ns."""
        when = self._send_at()
        expiry = self.voter.next_expiry()
        if expiry is not None and expiry < when:
            when = expiry
        if self.kernel.open | self.kernel.draining and self.kernel.deadline < when:
            when = self.kernel.deadline
        due = self.orphans.next_due(now=self.last_input)
        if due is not None and due < when:
            when = due
        self.armed = when
        return when

    def handle_timer(self, *, now: int) -> None:
        """Do what is due."""
        self._settle(now)

    def next_action(self) -> Action | None:
        """Take the next thing to do, None when all is done."""
        return self.kernel.actions.popleft() if self.kernel.actions else None

    def hear_versions(self, sender: int, speaks: Versions, *, now: int) -> None:
        """Note what a node speaks, of a message in a version that is not spoken here."""
        if sender in self.voters.known and sender != self.me:
            self.spoken.claim(sender, speaks, now=now)
            self._settle(now)

    # ---- what the host says ----

    def decline(self, node: int) -> None:
        """Do not agree to the restart of a node: the promise for it cannot be recorded.

        It is heard, and not acknowledged. What was promised is kept all the same.
        """
        if peer := self.peers.all.get(node):  # it may be no voter any more
            peer.excused_until = 0

    def set_health(self, healthy: bool, *, now: int) -> None:
        """Note what the health checks say."""
        self.healthy = healthy
        self._settle(now)

    def set_weight(self, weight: int, *, now: int) -> None:
        """Change this node's weight, 0..65535."""
        self.weight = weight
        self._settle(now)

    def set_quorum(self, *, alive: bool, now: int) -> None:
        """Set whether the survivor of two may go on alone."""
        self.config = self.config._replace(alive=alive)
        self._settle(now)

    def drain(self, *, now: int) -> None:
        """Give all buckets to others as they ask for them."""
        self.leaving = True
        self._settle(now)

    def undrain(self, *, now: int) -> None:
        """Take part again."""
        self.leaving = False
        self._settle(now)

    def drained(self, buckets: Iterable[int], *, now: int) -> None:
        """Note that no connection of the draining `buckets` is left, or that none may stay."""
        over = sum(1 << bucket - 1 for bucket in buckets) & self.kernel.draining
        if over:
            self.kernel.put(over, BucketState.NONE)
        self._settle(now)

    def note_flows(self, flow_slots: Mapping[int, int], *, now: int) -> None:
        """Take in the flow slots of buckets, by bucket, that ReadCells asked for."""
        self.flows.note(flow_slots)
        self._settle(now)

    def set_link(self, up: bool, *, now: int) -> None:
        """Release all at once when the link goes down; come back as a newcomer."""
        if up and not self.link:
            self._newcomer(now)
            self._listen(now, since=self.link_lost)
            self.incumbent = False
        elif self.link and not up:
            self.link_lost = now
        self.link = up
        self._settle(now)

    def speak(self, *, now: int) -> None:
        """Say all again at once: the link was gone, so nobody may have heard it."""
        self.changed = True
        self._settle(now)

    def leave(self, *, now: int) -> None:
        """Release all at once: the next message says so, and is our last word."""
        self.leaving = True
        self.stopped = True
        self._settle(now)

    def next_voters(self, voters: frozenset[int], *, now: int) -> VoterSet:
        """Return what `set_voters` would bring into use; raises RefusedError as it does."""
        heard = self.peers.lately(since=now - self.promise_length)
        return self.voters.successor(voters, heard, self.me)

    def set_voters(self, voters: frozenset[int], *, now: int) -> None:
        """Change the set of voters; raises RefusedError while that would be unsafe."""
        self.voters = self.next_voters(voters, now=now)
        self.changed = True
        self._settle(now)

    def prepare_restart(self, *, now: int) -> None:
        """Ask all to bear with a silence of the restart grace; RestartReady says when they do."""
        self._set_grace(self.timing.restart, now)
        self._note(self.grace_ends + self.voter.length(self.grace))
        self._settle(now)

    def cancel_restart(self, *, now: int) -> None:
        """Stay, also where nobody took up a hand-over that was given and taken back."""
        self.gone = False
        self._set_grace(0, now)
        self._settle(now)

    def hand_over(self) -> HandOver:
        """Return the memory for the successor; this node says nothing from then on.

        All events must be taken: the successor believes that the kernel is as they say.
        """
        if self.kernel.actions:
            raise RuntimeError("hand_over before all events were taken")
        self.gone = True
        return handed_over(self)

    # ---- who else runs as this node ----

    def bar(self, *, now: int) -> None:
        """Leave the place of this node to another daemon: somebody whom it hears said so."""
        until = now + self.voter.length(self.timing.restart)
        self.namesake.barred_until = until
        self.voter.mute_until = max(self.voter.mute_until, until)
        self._settle(now)

    def _hear_namesake(self, message: Message, now: int) -> None:
        if message.incarnation == self.incarnation:
            # What comes back to us is no news.
            if message.sequence > self.sequence:
                self._set_back(message.sender, message.sequence, now)
            return
        hears_us = self.sent_lately(message.heard_of(self.me, self.incarnation), now)
        verdict, new = self.namesake.receive(message, self.sequence, hears_us=hears_us, now=now)
        if verdict is Reception.UNPROVEN and new:
            self._answer(now)
        if verdict is Reception.ACCEPTED and (message.claims or not self.claims()):
            self.bar(now=now)

    # ---- what peers say about us ----

    def _set_back(self, teller: int, sequence: int, now: int) -> None:
        """Close all and say nothing more: our memory was saved, brought back later, or copied."""
        self.gone = True
        self.kernel.reset(self.config.total)
        # Promises are lost, as in a reboot.
        self._note(now + self.voter.length(self.timing.restart))
        self.kernel.actions.append(SetBack(teller, sequence))

    def _acknowledged(self, message: Message, *, counts: bool) -> None:
        sequence = message.acknowledged(self.me, self.incarnation)
        if sequence and counts:
            self.holder.acknowledge(
                message.sender, sequence, message.granted_to(self.me),
                at_least=message.grace, said=message.sequence,
            )  # fmt: skip
        sent = self.holder.sent.get(message.heard_of(self.me, self.incarnation))
        # It had heard that we hold these when it said that it does.
        both = message.held & self.kernel.open & (sent.held if sent else 0)
        if both:
            self.kernel.actions.append(Alarm(AlarmKind.TWO_OWNERS, message.sender, both))

    def _disagree(self, message: Message, known: Message | None) -> None:
        if message.held and self.kernel.open and message.sender < self.me:
            self.incumbent = False
        if known is None or (known.config, known.voters) != (message.config, message.voters):
            other = message.config if message.config != self.config.config else message.voters
            self.kernel.actions.append(Alarm(AlarmKind.MISMATCH, message.sender, other))

    # ---- messages ----

    def _about_me(self, now: int) -> Message:
        """Return this node's message without what it owes and grants to others."""
        return Message(
            self.me, self.incarnation, self.sequence, self.config.config,
            self.voters.digest, self.voters.previous, self.weight, self.healthy,
            self.leaving, self.is_ready(now), self.grace,
            self.intent | self.kernel.open, self.kernel.open, self.kernel.draining,
            flows=self.flows.said(), clock=now,
            version=self.spoken.version(now=now), speaks=self.spoken.own, keys=self.keys,
        )  # fmt: skip

    def _message(self, now: int) -> Message:
        owed = self.peers.owed(silent_since=now - 3 * self.timing.interval, now=now)
        newest = {entry.node: entry.incarnation for entry in owed if entry.acknowledged}
        newest[self.me] = self.incarnation
        grants = tuple(
            (grantee[0], promise.buckets)
            for grantee, promise in self.voter.promises.items()
            if promise.buckets and self._is_this(grantee, newest) and self._within_reach(grantee[0])
        )  # fmt: skip
        seen_draining = 0
        for one in [*self.lingering(now), *(peer.newest for peer in self._there(now).values())]:
            seen_draining |= one.draining if one else 0
        return self._about_me(now)._replace(
            heard=owed + self.namesake.owed(now=now),
            grants=() if self.barred(now) else grants,
            seen_draining=seen_draining,
        )

    # ---- a planned restart ----

    def _remember(self, old: HandOver) -> None:
        """Take up the promises given as a voter."""
        self.voter.mute_until = old.mute_until
        for one in old.promises:
            self.voter.promises[one.node, one.incarnation] = Promise(one.until, one.buckets)
            self.voter.taken |= one.buckets
