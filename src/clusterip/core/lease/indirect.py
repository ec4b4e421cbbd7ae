"""Who has heard whom, as all say: whether a node that we do not hear may still answer packets.

A node that gave a bucket away answers what began there while a majority of the voters acknowledges
it (`DRAINS` in `holder`): until L after it sent the newest message that such a majority had
acknowledged. So to hear nothing of it for D proves nothing. It is gone when voters enough to meet
in every majority had acknowledged nothing that it sent after a time R, up to a time E at least D
later: between the two its lease lapsed, for each of its majorities has one of them.

1. What a voter said holds up to when we sent what it echoes there (E): it spoke after it heard
   that.
2. What it had acknowledged was sent before we heard the same or newer ourselves, else before it
   first said so (R).

What a node said of its drains to others, but not to us, they pass on (`relayed`). Let a bucket be
ours from a time O on, and let voters enough to meet in every majority have spoken, each up to a
time E at least D later than O. Were that bucket still answered elsewhere, one of them would have
acknowledged by E what its owner before sent less than L earlier, so after O (or, before a planned
restart, when it gives nothing away), so after it gave the bucket away. Then the newest that is
told of that owner, in that incarnation, says that the bucket drains.

In a planned restart a node drains for its grace, whoever hears it: what is not heard of it then, or
not told, proves nothing. So all who may answer packets must have heard of it before (holder).

A voter in a planned restart counts for its grace to those whom it heard: they drain on. So what it
acknowledged may have been sent until then (R), and what it says up to a time before (E) tells
nothing of drains. To whom it counts knows that all who may have these buckets had heard of its
grace, by what they echo of it; who restarts knows of its own, and so it counts until that is over.

While the voters change there may be a stranger: a node of the set after ours or before it, that was
added and is in other files than ours, or was removed from ours and not from others. It may drain
what comes to us, so it is one of those whom others heard and we did not. As long as it may answer
packets, we are told of it, something new within the last 2 D:

3. If it drains at a time t, a majority of its set acknowledged by t - L what it sent after
   t - 2 L. What is ours at t a majority of our set promised in messages that came after t - L. One
   voter is in both (voter_set), and each message names all whom its sender heard; for 2 D even
   those whom it forgot, for they were removed.
4. Or nobody acknowledged it by t - L, and it was promised the bucket, and gave it back, since. Who
   promised it to both of us heard that it did, and named it in the message that promises.
5. A voter in a planned restart counts to both for its grace: what it told until 2 D before that
   counts for as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from clusterip.core.messages.message import Message


class _Statement(NamedTuple):
    """The newest that a voter has of a node, and when it said so first, ns."""

    incarnation: int
    sequence: int
    since: int
    draining: int | None = None
    """What that node, and others, drained then; None from a voter of another configuration."""


class Indirect:
    """What the others say that they heard."""

    def __init__(self, started: int) -> None:
        self.started = started
        self._incarnations: dict[int, tuple[int, int]] = {}
        """Voter -> its incarnation, and since when we hear that one."""
        self._said: dict[int, dict[int, _Statement]] = {}
        """Voter -> node -> the newest that it acknowledged."""
        self._heard: dict[int, dict[int, _Statement]] = {}
        """Voter -> node -> the newest that it heard."""

    def take(self, message: Message, *, same: bool = True, now: int) -> None:
        """Take in whom the sender has heard; `same` is False for one of another configuration."""
        voter = message.sender
        if self._incarnations.get(voter, (0, 0))[0] != message.incarnation:
            # What its last memory heard may have been newer than anything this one says.
            self._incarnations[voter] = message.incarnation, now
            self._said[voter] = {}
            self._heard[voter] = {}
        said, heard = self._said[voter], self._heard[voter]
        for node, incarnation, sequence, known, acknowledged in message.heard:
            if known:
                since = _since(heard.get(node), incarnation, sequence, now)
                draining = message.seen_draining if same else None
                heard[node] = _Statement(incarnation, sequence, since, draining)
            if acknowledged:
                since = _since(said.get(node), incarnation, sequence, now)
                said[node] = _Statement(incarnation, sequence, since)

    def heard_by(self, voter: int, *, since: int) -> list[int]:
        """Return whom `voter` heard something new of, as it or they said after `since`, ns.

        Who acknowledges a node was heard by it; of one that does not hear us we know it only so.
        """
        heard = self._heard.get(voter, {})
        nodes = {node for node, one in heard.items() if one.since > since}
        for other, said in self._said.items():
            if voter in said and said[voter].since > since:
                nodes.add(other)
        return sorted(nodes)

    def named(self, voters: Iterable[int]) -> set[int]:
        """Return all whom `voters` said, at any time, to have heard."""
        return set().union(*(self._heard.get(voter, ()) for voter in voters))

    def told_at(self, voter: int, node: int) -> int:
        """Return when `voter` said last that it heard something new of `node`, ns; 0: never."""
        statement = self._heard.get(voter, {}).get(node)
        return statement.since if statement else 0

    def another(self, node: int, incarnation: int) -> int:
        """Return when another incarnation of `node` was last said to be heard, ns; 0: never.

        Something new of it: who is silent stays in what the others say.
        """
        return max(
            (one.since for one in self._of(node) if one.incarnation != incarnation), default=0
        )

    def silent_since(self, voter: int, node: int, newest: Message | None, heard_at: int) -> int:
        """Return when, at the latest, `node` sent the newest message the voter acknowledged.

        `newest` is what we heard of it ourselves, at `heard_at`; ns.
        """
        statement = self._said.get(voter, {}).get(node)
        if statement is None:
            return self._incarnations.get(voter, (0, self.started))[1]
        incarnation, sequence, since = statement[:3]
        if newest and newest.incarnation == incarnation and newest.sequence >= sequence:
            return min(heard_at, since)
        return since

    def outran(self, node: int, newest: Message | None, heard_at: int) -> bool:
        """Return whether there may be a newer message of `node` than we heard, at `heard_at`."""
        if newest is None:
            return True
        return any(
            one.sequence > newest.sequence
            if one.incarnation == newest.incarnation
            else one.since > heard_at
            for one in self._of(node)
        )

    def _of(self, node: int) -> list[_Statement]:
        return [heard[node] for heard in self._heard.values() if node in heard]

    def relayed(self, node: int, newest: Message | None) -> int:
        """Return which buckets `node` may drain, as is told of it, `newest` being what we heard."""
        best: dict[int, tuple[int, int]] = {}
        if newest:
            best[newest.incarnation] = newest.sequence, newest.draining
        for one in self._of(node):
            # Which of two incarnations is the newer nobody can tell: it is one of them.
            if one.draining is not None and one.sequence >= best.get(one.incarnation, (0, 0))[0]:
                best[one.incarnation] = one.sequence, one.draining
        drained = 0
        for _, draining in best.values():
            drained |= draining
        return drained


def _since(known: _Statement | None, incarnation: int, sequence: int, now: int) -> int:
    """Return since when a voter says so."""
    if known and (known.incarnation, known.sequence) == (incarnation, sequence):
        return known.since
    return now


def lapsed(
    quorum: tuple[frozenset[int], int], words: Mapping[int, tuple[int, int]], promise_length: int
) -> bool:
    """Return whether the voters of a quorum prove that a lease lapsed.

    `words` are (R, E) of each voter whose word is known, `promise_length` is D; all ns.
    """
    voters, need = quorum
    known = [words[one] for one in voters if one in words]
    return any(
        sum(until >= end and since + promise_length <= end for since, until in known) >= need
        for _, end in known
    )
