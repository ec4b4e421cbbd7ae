"""A coordinator with what it acts on: after any input drain its actions, act, let it speak.

`Agent` is to a coordinator what hands are to a head. It reads the clock it was given, after it
received and before it sends; it waits for nothing but its last word, and never decides who may
answer. How the coordinator is spoken with is for its exchange.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec

from clusterip.adapters.kernel_maps import InterfaceMaps
from clusterip.adapters.memory import Memory
from clusterip.adapters.telling import tell
from clusterip.core import events
from clusterip.core.config.state import GROUP
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.events import Commanded, CommandRefused
from clusterip.core.leftovers import Handed
from clusterip.core.messages.command import Verb, worded
from clusterip.core.serving.actions import (
    Action,
    Alarm,
    BucketState,
    Note,
    ReadFlowSlots,
    RestartReady,
    RestartRefused,
    SetBack,
    SetBucket,
    SetDeadline,
    SetFlowSlots,
    SetLead,
)
from clusterip.core.serving.drains import Drains
from clusterip.core.serving.other import Other
from clusterip.core.serving.tenure import Masks, Tenure
from clusterip.core.units import SECOND
from clusterip.runtime import alarms
from clusterip.runtime.coordinators.exchange import Exchange, Order
from clusterip.runtime.moves import Moves


class Agent:
    """Receives, acts, sends. `maps` is None for a witness; `clock` is CLOCK_BOOTTIME, ns.

    `handed` is what its predecessor left beside the coordinator's own memory, None for nothing.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        maps: InterfaceMaps | None,
        memory: Memory,
        clock: Callable[[], int],
        handed: Handed | None = None,
    ) -> None:
        self.exchange = exchange
        self.coordinator = exchange.coordinator
        self.name = exchange.names
        """Names of nodes, by id."""
        self.weight = handed.weight if handed else None
        """The weight that this node was given by a command, None for that of the file."""
        if self.weight is not None:
            self.coordinator.own.weight = self.weight
        self.alarms: Counter[str] = Counter()
        self.tenure = Tenure(handed.had if handed else None)
        self.drains = Drains(dict(handed.draining_since) if handed else None)
        self.may_go = False
        """Whether a planned restart may begin: nothing may happen here but the hand-over."""
        self.ends_by: int | None = None
        """When this node ends at the latest, that was told to stop, ns; None for one that was not.

        A stop is not taken back: who gave it, a service manager, say, waits for the end.
        """
        self.refused_restarts = 0
        if handed:
            exchange.raised.restore(handed.alarms, now=clock())
        self._maps = maps
        self._memory = memory
        self._clock = clock
        self._moves = Moves(self.coordinator, self.name)

    # ---- inputs ----

    def receive(self) -> None:
        """Take in what others said."""
        coming = self.exchange.receive()
        while not self.may_go:
            try:
                heard = next(coming)
            except StopIteration:
                return
            self._take_in(heard)

    def _take_in(self, heard: Order | Other | None) -> None:
        if isinstance(heard, Order):
            self._obey(heard)
            return
        if heard is not None:
            self._moves.heard(heard)
        self.pump()

    def timer(self) -> None:
        """Do what is due. A reminder alone changes nothing, so nothing follows from it."""
        now = self._clock()
        self.exchange.remind(now=now)
        if now >= self.coordinator.next_timer():
            self.coordinator.handle_timer(now=now)
            self.pump()

    def tell(self, verb: Callable[..., object]) -> None:
        """Call a verb of our node with the time it is as `now`, and do what follows."""
        verb(now=self._clock())
        self.pump()

    # ---- what follows ----

    def pump(self) -> None:
        """Drain actions, act, send."""
        kernel = self.coordinator.kernel
        while True:
            while (action := self.coordinator.next_action()) is not None:
                self._act(action)
            if self.may_go or self.coordinator.gone:
                break
            if not (self.exchange.speak() or kernel.actions):
                break
        self._note_tenure()
        self._moves.look(now=self._clock())
        self.exchange.look(now=self._clock())

    def _note_tenure(self) -> None:
        kernel = self.coordinator.kernel
        masks = Masks(kernel.owned, kernel.taking, kernel.draining, self.coordinator.asking)
        self.tenure.look(masks, self._moves.last, now=self._clock())

    def _act(self, action: Action) -> None:
        if self._maps is not None:
            self._act_on(self._maps, action)
        match action:
            case SetBucket(bucket, BucketState.DRAINING):
                self.drains.begin(bucket, now=self._clock())
            case SetBucket(bucket, _):
                self.drains.end(bucket)
            case Note():
                self._write(action)
            case SetBack(node, sequence, known):
                raise SystemFaultError(
                    f"this machine was set back: {self.name(node)} has heard message {sequence},"
                    f" and {known} was the last that is known here",
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
                alarms.say(action, self.exchange, now=now)

    def _write(self, note: Note) -> None:
        try:
            self._memory.set_note(max(note.until, self._memory.note() or 0))
        except ClusterIPError as error:
            if note.about:
                self.coordinator.decline(note.about)
                self.exchange.declined(note.about, error, now=self._clock())
                return
            # It is yet to be written: no message goes out before it.
            self.coordinator.kernel.actions.appendleft(note)
            raise

    def _act_on(self, maps: InterfaceMaps, action: Action) -> None:
        match action:
            case SetBucket(bucket, state):
                maps.set_bucket(GROUP, bucket, state)
            case SetFlowSlots(bucket, flow_slots):
                maps.set_flow_slots(GROUP, bucket, flow_slots)
            case ReadFlowSlots(buckets):
                read = {bucket: maps.flow_slots(GROUP, bucket) for bucket in buckets}
                self.coordinator.note_flows(read, now=self._clock())
            case SetDeadline(at, sooner):
                (maps.end_sooner if sooner else maps.set_deadline)(GROUP, at)
            case SetLead(node, incarnation, ahead, slack):
                maps.follow(GROUP, node, incarnation, ahead, slack)

    # ---- going ----

    def abandon(self) -> None:
        """Close the kernel at once, then release all: the end of a node in which something failed.

        What else the kernel was to be told is left out: it may be what failed.
        """
        if self._maps is not None:
            self._maps.set_deadline(GROUP, 0)
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
        while not (self.exchange.speak(last=True) or node.ended):
            time.sleep(node.pace.gap / SECOND)
            actions.clear()
        self.exchange.repeat()

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
            alarms=self.exchange.raised.leave(),
        )

    # ---- other nodes ----

    def _obey(self, order: Order) -> None:
        """Do what another node asks, unless that is refused to a command given here, too."""
        what, by = worded(order.verb, order.value), self.name(order.by)
        restarting = self.coordinator.restarting
        why = "a witness" if self._maps is None else "restarting" if restarting else ""
        if order.verb is not Verb.DRAIN and self.ends_by is not None:
            why = "stopping"
        if why:
            self.exchange.traffic.received[f"command refused: {why}"] += 1
            tell(CommandRefused(what=what, cause=f"it is {why}", by=by))
            return
        self.exchange.traffic.received["command"] += 1
        tell(Commanded(what=what, by=by))
        self.do(order.verb, order.value)

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
