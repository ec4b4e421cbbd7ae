"""Who has heard whom, as all say: whether a node that we do not hear may still answer packets.

A node that gave a bucket away answers what began there while a majority of the voters hears it
(`CONTACT` in `holder`): until L after it sent the newest message that such a majority heard.
So to hear nothing of it for D proves nothing. It is gone when voters enough to meet in every
majority had heard nothing that it sent after a time R, up to a time E at least D later: between
the two its lease lapsed, for each of its majorities has one of them.

1. What a voter said holds up to when we sent what it echoes there (E): it spoke after it heard
   that.
2. What it had heard was sent before we heard the same or newer ourselves, else before it first
   said so (R).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from clusterip.core.messages.message import Message


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

    def silent_since(self, voter: int, node: int, newest: Message | None, heard_at: int) -> int:
        """Return when, at the latest, `node` sent the newest message that the voter has heard.

        `newest` is what we heard of it ourselves, at `heard_at`; ns.
        """
        statement = self._said.get(voter, {}).get(node)
        if statement is None:
            return self._boots.get(voter, (0, self.started))[1]
        boot, sequence, since = statement
        if newest and newest.boot == boot and newest.sequence >= sequence:
            return min(heard_at, since)
        return since

    def outran(self, node: int, newest: Message | None, heard_at: int) -> bool:
        """Return whether there may be a newer message of `node` than we heard, at `heard_at`."""
        if newest is None:
            return True
        heard = (said[node] for said in self._said.values() if node in said)
        return any(
            sequence > newest.sequence if boot == newest.boot else since > heard_at
            for boot, sequence, since in heard
        )


def lapsed(
    quorum: tuple[frozenset[int], int], words: Mapping[int, tuple[int, int]], lasting: int
) -> bool:
    """Return whether the voters of a quorum prove that a lease lapsed.

    `words` are (R, E) of each voter whose word is known, `lasting` is D; all ns.
    """
    voters, need = quorum
    known = [words[one] for one in voters if one in words]
    return any(
        sum(until >= end and since + lasting <= end for since, until in known) >= need
        for _, end in known
    )
