"""Who has a key of the cluster and should not speak: who is not in its file, or twice.

Their messages are genuine, but may be recordings: so only those count that are newer than all
before of the same incarnation, of which there is an end.
"""

from __future__ import annotations

from typing import Final

from clusterip.core.messages.message import Message

_MOST: Final = 16
"""Boots that are remembered: those that said something new last."""


class Stranger:
    """An incarnation: its newest message came from `source` at `last`, the first at `since`.

    `claims` says whether that message claimed anything: see `core.lease.namesake`.
    """

    __slots__ = ("claims", "count", "incarnation", "last", "node", "sequence", "since", "source")

    def __init__(self, node: int, incarnation: int, since: int) -> None:
        self.node = node
        self.incarnation = incarnation
        self.since = since
        self.sequence = 0
        self.source = ""
        self.claims = False
        self.count = 0
        self.last = 0


class Strangers:
    """All of them. What was not heard for `lasting`, ns, is there no more."""

    def __init__(self, lasting: int) -> None:
        self.lasting = lasting
        self._all: dict[tuple[int, int], Stranger] = {}

    def note(self, message: Message, source: str, *, now: int) -> None:
        """Note a message."""
        node, incarnation, sequence = message[:3]
        one = self._all.get((node, incarnation))
        if one is None:
            if len(self._all) == _MOST:
                del self._all[min(self._all, key=lambda each: self._all[each].last)]
            one = self._all[node, incarnation] = Stranger(node, incarnation, now)
        if sequence > one.sequence:
            one.sequence, one.source, one.last = sequence, source, now
            one.claims = message.claims
            one.count += 1

    def heard(self, *, now: int) -> list[Stranger]:
        """Return those that are heard, one for each node."""
        return list({one.node: one for one in self.incarnations(now=now)}.values())

    def incarnations(self, *, now: int) -> list[Stranger]:
        """Return those that are heard, each incarnation of a node."""
        return [one for one in self._all.values() if one.last + self.lasting > now]
