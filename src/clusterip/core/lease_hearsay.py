"""Who has heard whom, as all say: whether a node that we do not hear may still answer packets.

A node that gave a bucket away answers what began there while a majority of the voters hears it
(`CONTACT` in lease_holder): until L after it sent the newest message that such a majority heard.
So to hear nothing of it for D proves nothing. It is gone when voters enough to meet in every
majority all heard nothing of it for D, up to a time that is over: each of its majorities has one
of them, whose newest ack is older than that, and its lease has lapsed.

What a voter said holds up to when we sent what it echoes there: it said so after it heard that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clusterip.core.message import Message


class _Statement(NamedTuple):
    """The newest that a voter has heard of a node, and when it said so first, ns."""

    boot: int
    sequence: int
    since: int


class Hearsay:
    """What the others say that they heard."""

    def __init__(self, started: int) -> None:
        self.started = started
        self._boots: dict[int, tuple[int, int]] = {}
        """Voter -> its boot, and since when we hear that one."""
        self._said: dict[int, dict[int, _Statement]] = {}
        """Voter -> node -> statement."""

    def take(self, message: Message, *, now: int) -> None:
        """Take in whom the sender has heard."""
        voter = message.sender
        if self._boots.get(voter, (0, 0))[0] != message.boot:
            # What its last memory heard may have been newer than anything this one says.
            self._boots[voter] = message.boot, now
            self._said[voter] = {}
        said = self._said[voter]
        for node, boot, sequence in message.heard:
            known = said.get(node)
            if known is None or (known.boot, known.sequence) != (boot, sequence):
                said[node] = _Statement(boot, sequence, now)

    def silent_since(self, voter: int, node: int) -> int:
        """Return since when, at the latest, that voter has heard nothing new of `node`, ns."""
        statement = self._said.get(voter, {}).get(node)
        return statement.since if statement else self._boots.get(voter, (0, self.started))[1]

    def outran(self, node: int, newest: Message | None) -> bool:
        """Return whether there may be a newer message of `node`, or one of another boot."""
        if newest is None:
            return True
        heard = (said[node] for said in self._said.values() if node in said)
        return any(one.boot != newest.boot or one.sequence > newest.sequence for one in heard)


def enough(
    quorum: tuple[frozenset[int], int], node: int, silent: Mapping[int, int], before: int
) -> bool:
    """Return whether `node` was silent to enough voters of a quorum since `before` or earlier.

    `silent` is since when (ns), of each voter whose word is good.
    """
    voters, need = quorum
    return sum(silent[one] <= before for one in voters if one in silent and one != node) >= need
