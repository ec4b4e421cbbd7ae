"""A node of the lease protocol: what comes in, what goes out. The package says why it is safe.

It is the coordinator of peers (`core.serving.coordinator`), and has what only they need beside:
sets of voters, clocks, versions, and doubles of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusterip.core.lease import (
    contact,
    heeding,
    listening,
    others,
    pair,
    receiving,
    restarting,
    settling,
    speech,
)
from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node_config import NodeConfig
from clusterip.core.lease.node_state import begin
from clusterip.core.lease.snapshot import snapshot
from clusterip.core.lease.succession import handed_over, resume
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Action, Alarm, AlarmKind, BucketState, Reception
from clusterip.core.serving.coordinator import Own, Pace
from clusterip.core.serving.flows import Flows
from clusterip.core.serving.kernel import Kernel
from clusterip.core.serving.other import Other
from clusterip.core.serving.status import Snapshot

__all__ = ["Node", "NodeConfig"]


class Node:
    """A coordinator among peers. `state` is what it knows, for functions over it.

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
        if handover:
            self.state = resume(config, handover, now=now)
            settling.settle(self.state, now)
        else:
            self.state = begin(config, incarnation=incarnation, mute=mute, now=now)
            self.state.kernel.reset(config.total)

    # ---- what is so now ----

    @property
    def me(self) -> int:
        """The id of this node."""
        return self.state.me

    @property
    def kernel(self) -> Kernel:
        """Which buckets may be used, and until when."""
        return self.state.kernel

    @property
    def flows(self) -> Flows:
        """The flows that stay here of buckets that go."""
        return self.state.flows

    @property
    def own(self) -> Own:
        """What was said of this host."""
        return self.state.own

    @property
    def asking(self) -> int:
        """Mask of the buckets asked for and not had."""
        return self.state.plan.intent & ~self.state.kernel.open

    @property
    def others(self) -> dict[int, Other]:
        """Those who live and hear us."""
        living = self.state.hearing.living
        return {node: contact.as_other(message) for node, message in living.items()}

    def known(self, node: int) -> Other | None:
        """Return what a node said last."""
        peer = self.state.hearing.peers.all.get(node)
        return contact.as_other(peer.newest) if peer and peer.newest else None

    def lives(self, node: int) -> bool:
        """Return whether a node is heard that can serve with us."""
        return node in self.state.hearing.heard

    def in_contact(self, now: int) -> bool:
        """Return whether a majority of the voters hears us and is heard."""
        return contact.in_contact(self.state, now)

    @property
    def lacks(self) -> str:
        """What is missing where this node is in no contact, in words."""
        if pair.is_of_two(self.state):
            return "of the two hosts the other did not agree to it"
        return "no majority of the voters hears this node"

    @property
    def pace(self) -> Pace:
        """How long things take."""
        state = self.state
        giving = 2 * state.promise_length + state.flows.watch
        return Pace(state.timing.lease, state.timing.gap, giving)

    @property
    def restarting(self) -> bool:
        """Whether a grace is asked for."""
        return bool(self.state.grace.asked)

    @property
    def gone(self) -> bool:
        """Whether nothing is said any more."""
        return self.state.voice.gone

    @property
    def ended(self) -> bool:
        """Whether the last word was said."""
        return self.state.voice.farewell

    def snapshot(self, *, now: int) -> Snapshot:
        """Return what is to be seen of it."""
        return snapshot(self.state, now=now)

    # ---- the five verbs ----

    def receive(self, heard: Message, *, now: int) -> Reception:
        """Take in a message whose MAC and bounds were checked; say what became of it."""
        return receiving.receive(self.state, heard, now=now)

    def message_to_send(self, *, now: int) -> Message | None:
        """Return the message to send to all now, None if there is none.

        None while actions are not taken: what a message says of the kernel must be so.
        """
        state = self.state
        kernel, voice, votes, grace = state.kernel, state.voice, state.votes, state.grace
        if voice.gone or kernel.actions or now < speech.send_at(state):
            return None
        voice.sequence += 1
        want = state.plan.intent | kernel.open
        lease = max(grace.asked, state.timing.lease)
        heard_for = lease if others.grace_is_known(state, now) else state.timing.lease
        votes.holder.say(voice.sequence, want, kernel.open, lease, heard_for, now=now)
        voice.last_sent = now
        voice.advertised = speech.saying(state, now)
        voice.farewell = state.own.stopped
        if grace.asked and not grace.announced:
            grace.announced = True
            grace.sent_at = now
        votes.voter.expire(now=now)
        if grace.asked:
            votes.voter.lend(grace.asked, now=now)
            grace.lent_until = now + votes.voter.length(grace.asked)
        renews = state.me in votes.voters.voters
        votes.voter.hear(state.myself, want, grace.asked, renews=renews, now=now)
        settling.give(state, now)
        voice.changed = False
        for deaf in state.hearing.deafness.look(contact.speaking(state, now), now=now):
            hears = len(contact.heard_by(state, deaf, now))
            kernel.actions.append(Alarm(AlarmKind.DEAF, deaf, hears))
        message = speech.compose(state, now)
        if not contact.doubled(state, state.me, now):
            votes.holder.acknowledge(state.me, voice.sequence, votes.voter.granted(state.myself))
        settling.settle(state, now)
        return message

    def next_timer(self) -> int:
        """Return when to call `handle_timer`, ns."""
        state = self.state
        kernel, when = state.kernel, speech.send_at(state)
        voter = state.votes.voter
        if voter.all_stand_until < when:
            expiry = voter.next_expiry()
            if expiry is not None and expiry < when:
                when = expiry
        if kernel.open | kernel.draining and kernel.deadline < when:
            when = kernel.deadline
        due = state.plan.orphans.next_due(now=state.attention.last_input)
        if due is not None and due < when:
            when = due
        state.attention.armed = when
        return when

    def handle_timer(self, *, now: int) -> None:
        """Do what is due."""
        settling.settle(self.state, now)

    def next_action(self) -> Action | None:
        """Take the next thing to do, None when all is done."""
        actions = self.state.kernel.actions
        return actions.popleft() if actions else None

    # ---- what the host says ----

    def decline(self, node: int) -> None:
        """Do not agree to the restart of a node: the promise for it cannot be recorded.

        It is heard, and not acknowledged. What was promised is kept all the same.
        """
        if peer := self.state.hearing.peers.all.get(node):  # it may be no voter any more
            peer.excused_until = 0

    def set_health(self, healthy: bool, *, now: int) -> None:
        """Note what the health checks say."""
        self.own.healthy = healthy
        settling.settle(self.state, now)

    def set_weight(self, weight: int, *, now: int) -> None:
        """Change this node's weight, 0..65535."""
        self.own.weight = weight
        settling.settle(self.state, now)

    def drain(self, *, now: int) -> None:
        """Give all buckets to others as they ask for them."""
        self.own.leaving = True
        settling.settle(self.state, now)

    def undrain(self, *, now: int) -> None:
        """Take part again."""
        self.own.leaving = False
        settling.settle(self.state, now)

    def drained(self, buckets: Iterable[int], *, now: int) -> None:
        """Note that no connection of the draining `buckets` is left, or that none may stay."""
        over = sum(1 << bucket - 1 for bucket in buckets) & self.kernel.draining
        if over:
            self.kernel.put(over, BucketState.NONE)
        settling.settle(self.state, now)

    def note_flows(self, flow_slots: Mapping[int, int], *, now: int) -> None:
        """Take in the flow slots of buckets, by bucket, that ReadFlowSlots asked for."""
        self.flows.note(flow_slots)
        settling.settle(self.state, now)

    def set_link(self, up: bool, *, now: int) -> None:
        """Release all at once when the link goes down; come back as a newcomer."""
        state = self.state
        if up and not state.own.link:
            listening.newcomer(state, now)
            listening.listen(state, now, since=state.attention.link_lost)
            state.plan.incumbent = False
        elif state.own.link and not up:
            state.attention.link_lost = now
        state.own.link = up
        settling.settle(state, now)

    def speak(self, *, now: int) -> None:
        """Say all again at once: the link was gone, so nobody may have heard it."""
        self.state.voice.changed = True
        settling.settle(self.state, now)

    def leave(self, *, now: int) -> None:
        """Release all at once: the next message says so, and is our last word."""
        self.own.leaving = True
        self.own.stopped = True
        settling.settle(self.state, now)

    def prepare_restart(self, *, now: int) -> None:
        """Ask all to bear with a silence of the restart grace; RestartReady says when they do."""
        state = self.state
        restarting.set_grace(state, state.timing.restart, now)
        restarting.note(state, state.grace.ends + state.votes.voter.length(state.grace.asked))
        settling.settle(state, now)

    def cancel_restart(self, *, now: int) -> None:
        """Stay, also where nobody took up a hand-over that was given and taken back."""
        self.state.voice.gone = False
        restarting.set_grace(self.state, 0, now)
        settling.settle(self.state, now)

    def hand_over(self) -> bytes:
        """Return the memory for the successor; this node says nothing from then on.

        All actions must be taken: the successor believes that the kernel is as they say.
        """
        if self.kernel.actions:
            raise RuntimeError("hand_over before all actions were taken")
        self.state.voice.gone = True
        return handed_over(self.state).encode()

    # ---- what only peers need ----

    @property
    def incarnation(self) -> int:
        """The id of this memory."""
        return self.state.voice.incarnation

    @property
    def sequence(self) -> int:
        """The number of the newest message."""
        return self.state.voice.sequence

    def use_keys(self, keys: int) -> None:
        """Say that this node has the keys whose ids are in the mask `keys`."""
        self.state.voice.keys = keys

    def heed(self, messages: Iterable[Message], *, now: int) -> None:
        """Take in what the senders' clocks showed: of all that came together, before the rest."""
        heeding.heed(self.state, messages, now=now)

    def receive_unread(self, head: Message, *, now: int) -> None:
        """Take in the head of a message, MAC checked, in a version that is not spoken here."""
        receiving.receive_unread(self.state, head, now=now)

    def bar(self, *, now: int) -> None:
        """Leave the place of this node to another daemon: somebody whom it hears said so."""
        receiving.bar(self.state, now=now)

    def set_quorum(self, *, alive: bool, now: int) -> None:
        """Set whether the survivor of two may go on alone."""
        self.state.config = self.state.config._replace(alive=alive)
        settling.settle(self.state, now)

    def next_voters(self, voters: frozenset[int], *, now: int) -> VoterSet:
        """Return what `set_voters` would bring into use; raises RefusedError as it does."""
        heard = self.state.hearing.peers.lately(since=now - self.state.promise_length)
        return self.state.votes.voters.successor(voters, heard, self.me)

    def set_voters(self, voters: frozenset[int], *, now: int) -> None:
        """Change the set of voters; raises RefusedError while that would be unsafe."""
        self.state.votes.voters = self.next_voters(voters, now=now)
        self.state.voice.changed = True
        settling.settle(self.state, now)
