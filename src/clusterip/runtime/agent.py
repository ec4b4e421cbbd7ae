"""One node of the protocol with what it acts on: after any input drain events, act, send.

`Agent` is to `core.lease.node.Node` what hands are to a head. It reads the clock it was given,
after it received and before it sends; it waits for nothing but its last word, and never decides
who may answer.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from clusterip.adapters.datagrams import Datagrams, Received
from clusterip.adapters.dataplane import Plane
from clusterip.adapters.runfiles import Memory
from clusterip.adapters.telling import tell
from clusterip.core import events
from clusterip.core.config.keys import Keys
from clusterip.core.config.state import GROUP
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import (
    Commanded,
    CommandRefused,
)
from clusterip.core.lease import contact, speech
from clusterip.core.lease.node import Node
from clusterip.core.leftovers import Handed
from clusterip.core.messages.command import (
    Command,
    CommandCodec,
    Obedience,
    Refusal,
    Verb,
    is_command,
    worded,
)
from clusterip.core.messages.envelope import key_of
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import Codec, UnreadableError, WireError, clock_key
from clusterip.core.serving.actions import (
    Action,
    Alarm,
    BucketState,
    Note,
    ReadFlowSlots,
    Reception,
    RestartReady,
    RestartRefused,
    SetBack,
    SetBucket,
    SetDeadline,
    SetFlowSlots,
    SetLead,
)
from clusterip.core.serving.coordinator import Coordinator
from clusterip.core.serving.drains import Drains
from clusterip.core.serving.tenure import Masks, Tenure
from clusterip.core.units import SECOND
from clusterip.runtime import alarms
from clusterip.runtime.moves import Moves
from clusterip.runtime.others import Others
from clusterip.runtime.receptions import Receptions

_LAST_WORDS: Final = 3
"""How often the last message is said: nobody repeats it later."""
_FRESH_MESSAGES: Final = 20
"""A command that names an older message of ours is not obeyed."""
_FRESH: Final = SECOND
"""Nor one that names a message from before that time, ns: who asks repeats, and gives up later."""


class Agent:
    """Receives, acts, sends. `plane` is None for a witness; `clock` is CLOCK_BOOTTIME, ns."""

    def __init__(
        self,
        node: Node,
        *,
        cluster: int,
        plane: Plane | None,
        datagrams: Datagrams,
        memory: Memory,
        clock: Callable[[], int],
    ) -> None:
        self.node = node
        self.coordinator: Coordinator[Message, Message] = node
        """The same, as anything that decides: `node` is for what only peers have."""
        self.names: dict[int, str] = {}
        """Names of nodes, by id."""
        self.weight: int | None = None
        """The weight that this node was given by a command, None for that of the file."""
        self.alarms: Counter[str] = Counter()
        self.tenure = Tenure()
        self.sent = 0
        self.message_bytes = 0
        self.drains = Drains()
        self.may_go = False
        """Whether a planned restart may begin: nothing may happen here but the hand-over."""
        self.ends_by: int | None = None
        """When this node ends at the latest, that was told to stop, ns; None for one that was not.

        A stop is not taken back: who gave it, a service manager, say, waits for the end.
        """
        self.refused_restarts = 0
        self.without_source = False
        """Whether this host has no address that its messages may leave from."""
        self._cluster = cluster
        self._plane = plane
        self._datagrams = datagrams
        self._memory = memory
        self._clock = clock
        self._obedience = Obedience(
            node.me, node.incarnation, window=_FRESH_MESSAGES, lasting=_FRESH, after=node.sequence
        )
        self._last = b""
        self._moves = Moves(self.coordinator, self._name)
        self.others = Others(node, self._name, now=clock())
        """What is known of the other nodes, in words."""
        self.receptions = Receptions(node, self.others)
        self.received = self.receptions.counts

    def use_keys(self, keys: Keys) -> None:
        """Seal and open datagrams with these keys from now on."""
        secrets, sending = keys.secrets(), keys.sending.id
        self.node.use_keys(sum(1 << number for number in secrets))
        self.receptions.sealed_with[self.node.me] = sending
        config = self.node.state.config
        self._codec = Codec(self._cluster, secrets, sending, config.total, config.speaks)
        self._commands = CommandCodec(self._cluster, secrets, sending)
        if self._plane is not None:
            self._plane.trust(
                {number: clock_key(secret, self._cluster) for number, secret in secrets.items()}
            )

    # ---- inputs ----

    def receive(self) -> None:
        """Take in what came from the network."""
        if not self.may_go:
            self.take(self._datagrams.receive())

    def take(self, datagrams: Iterable[Received]) -> None:
        """Take in datagrams that came together, whoever sent them."""
        opened = [(self._opened(raw, source), raw, source) for raw, source in datagrams]
        messages = [(one, key_of(raw), source) for one, raw, source in opened if one is not None]
        if len(messages) > 1:  # of one alone its node sees to the clock before the rest
            self.node.heed([message for message, _, _ in messages], now=self._clock())
        for message, key, source in messages:
            if self.may_go:
                return
            reception = self.node.receive(message, now=self._clock())
            if reception is Reception.ACCEPTED:
                self._moves.heard(contact.as_other(message))
            self.receptions.message(message, reception, source, key, now=self._clock())
            self.pump()

    def _opened(self, raw: bytes, source: str) -> Message | None:
        """Return the message in a datagram, whoever sent it; commands are obeyed at once."""
        try:
            if not is_command(raw):
                return self._codec.decode(raw)
            self._obey(self._commands.decode(raw))
        except WireError as error:
            if isinstance(error, UnreadableError):
                self.node.receive_unread(error.head, now=self._clock())
            self.receptions.refused(raw, source, error.fault, now=self._clock())
        return None

    def timer(self) -> None:
        """Do what is due."""
        self.coordinator.handle_timer(now=self._clock())
        self.pump()

    def tell(self, verb: Callable[..., object]) -> None:
        """Call a verb of our node with the time it is as `now`, and do what follows."""
        verb(now=self._clock())
        self.pump()

    # ---- what follows ----

    def pump(self) -> None:
        """Drain events, act, send."""
        kernel = self.coordinator.kernel
        while True:
            while (action := self.coordinator.next_action()) is not None:
                self._act(action)
            if self.may_go or self.coordinator.gone:
                break
            message = self.coordinator.message_to_send(now=self._clock())
            if message is not None:
                self._last = self._codec.encode(message)
                self.message_bytes = len(self._last)
                self.sent += 1
                now = self._clock()
                self._obedience.spoke(message.sequence, now=now)
                loud = speech.in_vain(self.node.state, now) or now < self.others.doubles.told_until
                loud = self._datagrams.send(self._last, everybody=loud)
                self.others.ways.said(message.sequence, everybody=loud, now=now)
                missing = self._datagrams.without_source
                alarms.say_source(self.others.alarms, missing, self.without_source, now=now)
                self.without_source = missing
                self._tell_rivals(now)
            elif not kernel.actions:
                break
        self._note_tenure()
        self._moves.look(now=self._clock())
        self.others.look(now=self._clock())

    def _note_tenure(self) -> None:
        kernel = self.coordinator.kernel
        masks = Masks(kernel.owned, kernel.taking, kernel.draining, self.coordinator.asking)
        self.tenure.look(masks, self._moves.last, now=self._clock())

    def _act(self, action: Action) -> None:
        if self._plane is not None:
            self._act_on(self._plane, action)
        match action:
            case SetBucket(bucket, BucketState.DRAINING):
                self.drains.begin(bucket, now=self._clock())
            case SetBucket(bucket, _):
                self.drains.end(bucket)
            case Note():
                self._write(action)
            case SetBack(node, sequence):
                raise SystemFaultError(
                    f"this machine was set back: {self._name(node)} has heard message {sequence},"
                    f" and {self.node.sequence} was the last that is known here",
                    "nothing: the daemon starts anew, without a memory; do not save and restore,"
                    " or copy, machines that run",
                )
            case RestartReady():
                self.may_go = True
            case RestartRefused():
                self.refused_restarts += 1
                tell(
                    events.RestartRefused(
                        cause="no majority agreed to a restart in time", voted=True
                    )
                )
            case Alarm():
                self.alarms[action.kind.name.lower()] += 1
                now = self._clock()
                alarms.say(action, self._name, self.others, self.coordinator.pace.lease, now=now)

    def _write(self, note: Note) -> None:
        try:
            self._memory.set_note(max(note.until, self._memory.note() or 0))
        except ClusterIPError as error:
            if note.about:
                self.coordinator.decline(note.about)
                self.others.declined(note.about, error, now=self._clock())
                return
            # It is yet to be written: no message goes out before it.
            self.coordinator.kernel.actions.appendleft(note)
            raise

    def _act_on(self, plane: Plane, action: Action) -> None:
        match action:
            case SetBucket(bucket, state):
                plane.set_bucket(GROUP, bucket, state)
            case SetFlowSlots(bucket, flow_slots):
                plane.set_flow_slots(GROUP, bucket, flow_slots)
            case ReadFlowSlots(buckets):
                read = {bucket: plane.flow_slots(GROUP, bucket) for bucket in buckets}
                self.coordinator.note_flows(read, now=self._clock())
            case SetDeadline(at, sooner):
                (plane.end_sooner if sooner else plane.set_deadline)(GROUP, at)
            case SetLead(node, incarnation, ahead, slack):
                plane.follow(GROUP, node, incarnation, ahead, slack)

    def _tell_rivals(self, now: int) -> None:
        for command, source in self.others.doubles.commands(now=now):
            raw = self._commands.encode(command)
            self._datagrams.send(raw, everybody=True)
            self._datagrams.remind(raw, [source])

    def _name(self, node: int) -> str:
        return self.names.get(node, f"{node:016x}")

    # ---- going ----

    def remind(self, nodes: Iterable[int]) -> None:
        """Say the last message again to these; who has no address in the file hears all anyway."""
        targets = [address for node in nodes for address in self.others.addresses.get(node, ())]
        if self._last and targets:
            self._datagrams.remind(self._last, targets)

    def repeat(self) -> None:
        """Say the last message again: after it nobody will."""
        for _ in range(_LAST_WORDS - 1):
            self._datagrams.send(self._last)

    def abandon(self) -> None:
        """Close the kernel at once, then release all: the end of a node in which something failed.

        What else the kernel was to be told is left out: it may be what failed.
        """
        if self._plane is not None:
            self._plane.set_deadline(GROUP, 0)
        node, actions = self.coordinator, self.coordinator.kernel.actions
        notes = [action for action in actions if isinstance(action, Note)]
        actions.clear()
        for note in notes:
            with contextlib.suppress(ClusterIPError):
                self._write(note)
        if node.gone:
            return
        node.cancel_restart(now=self._clock())
        node.leave(now=self._clock())
        actions.clear()
        while (message := node.message_to_send(now=self._clock())) is None:
            time.sleep(node.pace.gap / SECOND)
            actions.clear()
        self._last = self._codec.encode(message)
        self._datagrams.send(self._last)
        self.repeat()

    def stay(self, why: str) -> None:
        """Note that a restart which could begin did not."""
        self.may_go = False
        self.refused_restarts += 1
        tell(events.RestartRefused(cause=why, begun=True))

    def hand_over(self) -> Handed:
        """Return the memory for the successor; nothing happens here any more."""
        node = msgspec.Raw(self.coordinator.hand_over())
        return Handed(
            node=node,
            draining_since=self.drains.since,
            weight=self.weight,
            had=self.tenure.had,
        )

    # ---- other nodes ----

    def ask(self, target: int, verb: Verb, value: int = 0) -> None:
        """Ask another node to do something; RefusedError if it is not there."""
        peer = self.node.state.hearing.peers.all.get(target)
        name = self._name(target)
        if peer is None or peer.newest is None or target not in self.node.state.hearing.living:
            raise RefusedError(f"{name} is not alive, as far as this host hears", "ask it there")
        command = Command(self.node.me, target, peer.incarnation, peer.newest.sequence, verb, value)
        for _ in range(_LAST_WORDS):
            self._datagrams.send(self._commands.encode(command))

    def _obey(self, command: Command) -> None:
        now, decider = self._clock(), self.coordinator
        refusal = self._obedience.take(command, self.node.sequence, now=now)
        # What is refused to a command given here is refused to others.
        why = "a witness" if self._plane is None else "restarting" if decider.restarting else ""
        if command.verb in (Verb.UNDRAIN, Verb.WEIGHT) and self.ends_by is not None:
            why = "stopping"
        if command.verb is Verb.DOUBLE:
            why = ""  # it is for all, and changes nothing
        if refusal is not None or why:
            self.received[f"command refused: {refusal.value if refusal else why}"] += 1
            if refusal is Refusal.LATE:
                self._refused(command, "it came too late", late=True)
            elif refusal is None:
                self._refused(command, f"it is {why}")
            return
        self.received["command"] += 1
        if command.verb is Verb.DOUBLE:
            self.others.doubles.heard_in_our_place(command.sender, now=now)
            return
        what = worded(command.verb, command.value)
        tell(Commanded(what=what, by=self._name(command.sender)))
        self.do(command.verb, command.value)

    def _refused(self, command: Command, why: str, *, late: bool = False) -> None:
        what = worded(command.verb, command.value)
        tell(CommandRefused(what=what, cause=why, by=self._name(command.sender), late=late))

    def refuse_stopping(self) -> None:
        """Raise RefusedError where this node was told to stop."""
        if self.ends_by is not None:
            left = max(0, self.ends_by - self._clock()) / SECOND
            raise RefusedError(
                f"this node is stopping, and ends in {left:.0f} s at the latest",
                "start it again when it has ended",
            )

    def do(self, verb: Verb, value: int = 0) -> None:
        """Drain, undrain or change the weight of this node; RefusedError where it is stopping."""
        if verb is not Verb.DRAIN:
            self.refuse_stopping()
        match verb:
            case Verb.DRAIN:
                self.tell(self.coordinator.drain)
            case Verb.UNDRAIN:
                self.tell(self.coordinator.undrain)
            case Verb.WEIGHT:
                self.weight = value
                self.tell(partial(self.coordinator.set_weight, weight=value))
