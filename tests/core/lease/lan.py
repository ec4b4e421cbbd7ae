"""Nodes on a network that delivers at once: what the tests of `core.lease.node` play with."""

from __future__ import annotations

from typing import Any

from clusterip.core.lease.handover import HandOver
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.lease.timing import DEFAULT, Timing
from clusterip.core.messages.message import Message
from clusterip.core.serving.actions import Action, ReadFlowSlots, RestartReady
from clusterip.core.units import MILLISECOND, SECOND

THREE = frozenset({1, 2, 3})
MS = MILLISECOND


def node(me: int = 1, *, now: int = 0, **more: Any) -> Node:
    fields: dict[str, Any] = {
        "me": me, "voters": THREE, "config": 5, "total": 4, "timing": DEFAULT,
    }  # fmt: skip
    return Node(NodeConfig(**(fields | more)), incarnation=me * 10, now=now)


def taken(of: Node) -> list[Action]:
    events = []
    while event := of.next_action():
        events.append(event)
    return events


class Lan:
    """Nodes that hear each other at once, and all their events in order."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {n.me: n for n in nodes}
        self.events: dict[int, list[Action]] = {n.me: [] for n in nodes}
        self.now = 0
        self.deaf: set[int] = set()
        self.cut: set[tuple[int, int]] = set()
        self.sent: list[Message] = []
        self.flow_slots = 0
        """What all kernels note of each bucket that is watched."""

    def run(self, until: int) -> None:
        while self.now < until:
            self.now += 5 * MS
            self.step()

    def step(self) -> None:
        """Let each do what is due."""
        for n in list(self.nodes.values()):
            if n.next_timer() <= self.now:
                n.handle_timer(now=self.now)
            while events := taken(n):
                self.events[n.me] += events
                for event in events:
                    if isinstance(event, ReadFlowSlots):
                        flow_slots = dict.fromkeys(event.buckets, self.flow_slots)
                        n.note_flows(flow_slots, now=self.now)
            message = n.message_to_send(now=self.now)
            if message:
                self.sent.append(message)
                for other in self.nodes.values():
                    if other is not n and self.hears(n, other):
                        self.deliver(message, n, other)

    def deliver(self, message: Message, one: Node, other: Node) -> None:
        """Bring a message of `one` to `other`."""
        other.receive(message, now=self.now)

    def hears(self, one: Node, other: Node) -> bool:
        """Return whether what `one` says comes to `other`."""
        pair = (one.me, other.me)
        return not {*pair} & self.deaf and pair not in self.cut

    def said(self, me: int) -> Message:
        """Return the newest message of that node."""
        return next(one for one in reversed(self.sent) if one.sender == me)

    def held(self) -> dict[int, int]:
        return {n.me: n.kernel.open for n in self.nodes.values()}


def cluster(**more: Any) -> Lan:
    lan = Lan(*(node(me, **more) for me in THREE))
    lan.run(4 * SECOND)
    assert sum(lan.held().values()) == 0b1111
    return lan


def two(until: int, *, alive: bool = True, timing: Timing = DEFAULT) -> Lan:
    """Return two hosts that share, of which one may go on alone where they are `alive`."""
    pair = frozenset({1, 2})
    lan = Lan(*(node(me, voters=pair, alive=alive, timing=timing) for me in sorted(pair)))
    lan.run(until)
    return lan


def begins_anew(lan: Lan, me: int, away: int, *, mute: int = 0) -> None:
    """Kill a host, which begins anew when it was away for so long, ns."""
    gone = lan.nodes.pop(me)
    lan.run(lan.now + away)
    lan.nodes[me] = Node(gone.state.config, incarnation=99, mute=mute, now=lan.now)


def borne(lan: Lan, me: int) -> HandOver:
    """Let a node that prepares a restart go as soon as it may; return what it hands over."""
    old, ends = lan.nodes[me], lan.now + SECOND
    lan.events[me].clear()
    while old.kernel.actions or not any(isinstance(one, RestartReady) for one in lan.events[me]):
        assert lan.now < ends, "nobody bears the restart"
        lan.run(lan.now + 5 * MS)
    del lan.nodes[me]
    return HandOver.decode(old.hand_over())


def restart_in(lan: Lan, me: int, silence: int) -> None:
    """Restart a node that takes `silence`, ns; what its kernel has is in use meanwhile."""
    old = lan.nodes[me]
    old.prepare_restart(now=lan.now)
    document = borne(lan, me)
    lan.run(lan.now + silence)
    assert document.deadline > lan.now
    lan.nodes[me] = Node(old.state.config, handover=document, now=lan.now)


def recorded_incarnations(lan: Lan) -> list[Message]:
    """Let node 2 begin anew again and again; return what two incarnations of it said, in turn."""
    for incarnation in (97, 98, 99):
        lan.nodes[2] = Node(lan.nodes[2].state.config, incarnation=incarnation, now=lan.now)
        lan.run(lan.now + 3 * SECOND)
    said = [
        [m for m in lan.sent if (m.sender, m.incarnation) == (2, incarnation)]
        for incarnation in (97, 98)
    ]
    return [message for both in zip(*said, strict=False) for message in both]


def replay(lan: Lan, old: list[Message], me: int) -> int:
    """Send a node 400 of `old` in a second; return how many messages it sends meanwhile."""
    before = lan.nodes[me].sequence
    for i in range(400):
        lan.nodes[me].receive(old[i % len(old)], now=lan.now)
        if i % 2:
            lan.run(lan.now + 5 * MS)
    return lan.nodes[me].sequence - before
