"""What became of what was received: counted, and told to those who know the other nodes."""

from __future__ import annotations

from clusterip.core.lease.node import Node
from clusterip.core.messages.envelope import Fault
from clusterip.core.messages.message import Message
from clusterip.core.messages.traffic import Traffic
from clusterip.core.serving.actions import Reception
from clusterip.runtime.coordinators.others import Others


class Receptions:
    """All that came to `node`: `traffic` is where it is counted."""

    def __init__(self, node: Node, others: Others, traffic: Traffic) -> None:
        self._node, self._others, self._traffic = node, others, traffic

    def message(
        self, message: Message, reception: Reception, source: str, key: int, *, now: int
    ) -> None:
        """Note what became of a message, sealed with the key of that id, from that address."""
        self._traffic.received[reception.value] += 1
        if reception is not Reception.ACCEPTED and not self._came_back(message):
            self._traffic.rejections.note(message.sender, source, reception.value, now=now)
        others = self._others
        if reception in (Reception.ACCEPTED, Reception.MISMATCH):
            self._traffic.sealed_with[message.sender] = key
            others.doubles.accepted(message, source)
            echoed = message.heard_of(self._node.me, self._node.incarnation)
            others.ways.heard(message.sender, echoed, now=now)
        elif reception in (Reception.UNPROVEN, Reception.REPLAYED):
            others.doubles.passed_over(message, source, now=now)
        elif reception is Reception.OWN:
            others.doubles.in_our_name(message, source, now=now)
        elif reception is Reception.STRANGER:
            others.stranger(message, source, now=now)

    def _came_back(self, message: Message) -> bool:
        """Tell whether this node said a message itself: what is said to everybody comes back."""
        node = self._node
        ours = (message.sender, message.incarnation) == (node.me, node.incarnation)
        return ours and message.sequence <= node.sequence

    def refused(self, raw: bytes, source: str, fault: Fault, *, now: int) -> None:
        """Note a datagram that is no message to us."""
        self._traffic.received[fault.value] += 1
        sender = self._others.refused(raw, source, fault, now=now)
        self._traffic.rejections.note(sender, source, fault.value, now=now)
