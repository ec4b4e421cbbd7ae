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

from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from operator import eq
from typing import NamedTuple

from clusterip.core.messages import echoes
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.messages.message import Message


class _Statement(NamedTuple):
    """The newest that a voter has of a node, and when it said so first, ns."""

    incarnation: int
    sequence: int
    since: int
    draining: int | None = None
    """What that node, and others, drained then; None from a voter of another configuration."""


class _Words:
    """What one voter said in one incarnation, which is heard since `began`, ns.

    The newest message names all that it hears, as a rule, and only the sequences are others than in
    the one before. So of those in it there are rows, and a statement only of who was in a former
    one.
    """

    def __init__(self, incarnation: int, began: int) -> None:
        self.incarnation = incarnation
        self.began = began
        self.newest = echoes.NONE
        self.draining: int | None = None
        self.known_since: list[int] = []
        """Since when, ns, it says of each node in `newest` that it knows that message."""
        self.acknowledged_since: list[int] = []
        self._known: dict[int, _Statement] = {}
        """Node -> the newest that it heard, of those that are not known in `newest`."""
        self._acknowledged: dict[int, _Statement] = {}

    def take(self, heard: Echoes, draining: int | None, now: int) -> None:
        """Take in what a message says."""
        if heard.of is self.newest.of:
            before = self.newest.sequences
            if any(map(eq, heard.sequences, before)):
                same = [a == b for a, b in zip(heard.sequences, before, strict=True)]
                self.known_since = _since(self.known_since, same, now)
                self.acknowledged_since = _since(self.acknowledged_since, same, now)
            else:
                self.known_since = self.acknowledged_since = [now] * len(heard)
        else:
            known = {one: self.known(one) for one in {*self._known, *self.newest.of.known}}
            said = {
                one: self.acknowledged(one)
                for one in {*self._acknowledged, *self.newest.of.acknowledged}
            }
            self.known_since = [_of_before(known.get(one.node), one, now) for one in heard]
            self.acknowledged_since = [_of_before(said.get(one.node), one, now) for one in heard]
            self._known = _without(known, heard.of.known)
            self._acknowledged = _without(said, heard.of.acknowledged)
        self.newest, self.draining = heard, draining

    def known(self, node: int) -> _Statement | None:
        """Return the newest of `node` that it heard."""
        at = self.newest.of.known.get(node)
        if at is None:
            return self._known.get(node)
        _, incarnation, *_ = self.newest.of.entries[at]
        sequence, since = self.newest.sequences[at], self.known_since[at]
        return _Statement(incarnation, sequence, since, self.draining)

    def acknowledged(self, node: int) -> _Statement | None:
        """Return the newest of `node` that it acknowledged."""
        at = self.newest.of.acknowledged.get(node)
        if at is None:
            return self._acknowledged.get(node)
        _, incarnation, *_ = self.newest.of.entries[at]
        return _Statement(incarnation, self.newest.sequences[at], self.acknowledged_since[at])

    def known_after(self, since: int) -> set[int]:
        """Return of whom it said after `since`, ns, that it knows something new."""
        rows = {node for node, at in self.newest.of.known.items() if self.known_since[at] > since}
        return rows | {node for node, one in self._known.items() if one.since > since}

    def acknowledged_after(self, since: int) -> set[int]:
        """Return of whom it acknowledged something new after `since`, ns."""
        rows = {
            node
            for node, at in self.newest.of.acknowledged.items()
            if self.acknowledged_since[at] > since
        }
        return rows | {node for node, one in self._acknowledged.items() if one.since > since}

    def named(self) -> Iterator[int]:
        """Yield all whom it said, at any time, to have heard."""
        yield from self._known
        yield from self.newest.of.known


class Indirect:
    """What the others say that they heard."""

    def __init__(self, started: int) -> None:
        self.started = started
        self._words: dict[int, _Words] = {}
        """By voter."""
        self._incarnations: dict[int, set[int]] | None = None
        """Node -> its incarnations, as the voters say; None when that may have changed."""

    def take(self, message: Message, *, same: bool = True, now: int) -> None:
        """Take in whom the sender has heard; `same` is False for one of another configuration."""
        voter = message.sender
        words = self._words.get(voter)
        if words is None or words.incarnation != message.incarnation:
            # What its last memory heard may have been newer than anything this one says.
            words = self._words[voter] = _Words(message.incarnation, now)
            self._incarnations = None
        elif words.newest.of is not message.heard.of:
            self._incarnations = None
        words.take(message.heard, message.seen_draining if same else None, now)

    def heard_by(self, voter: int, *, since: int) -> list[int]:
        """Return whom `voter` heard something new of, as it or they said after `since`, ns."""
        return sorted(self.who_hears(since=since).get(voter, ()))

    def who_hears(self, *, since: int) -> dict[int, set[int]]:
        """Return of each node whom it heard something new of, as it or they said after `since`, ns.

        Who acknowledges a node was heard by it; of one that does not hear us we know it only so.
        """
        found = {voter: words.known_after(since) for voter, words in self._words.items()}
        for other, words in self._words.items():
            for node in words.acknowledged_after(since):
                found.setdefault(node, set()).add(other)
        return found

    def named(self, voters: Iterable[int]) -> set[int]:
        """Return all whom `voters` said, at any time, to have heard."""
        return set().union(*(self._words[one].named() for one in voters if one in self._words))

    def names_only(self, nodes: AbstractSet[int]) -> bool:
        """Return whether all whom anybody said to have heard are among `nodes`."""
        return self._all_named().keys() <= nodes

    def _all_named(self) -> dict[int, set[int]]:
        """Return of all who were ever said to be heard which incarnations of them were."""
        if self._incarnations is None:
            self._incarnations = {}
            for words in self._words.values():
                for one in words.named():
                    if (said := words.known(one)) is not None:
                        self._incarnations.setdefault(one, set()).add(said.incarnation)
        return self._incarnations

    def told_at(self, voter: int, node: int) -> int:
        """Return when `voter` said last that it heard something new of `node`, ns; 0: never."""
        words = self._words.get(voter)
        statement = words.known(node) if words else None
        return statement.since if statement else 0

    def another(self, node: int, incarnation: int) -> int:
        """Return when another incarnation of `node` was last said to be heard, ns; 0: never.

        Something new of it: who is silent stays in what the others say.
        """
        if self._all_named().get(node, set()) <= {incarnation}:
            return 0
        return max(
            (one.since for one in self._of(node) if one.incarnation != incarnation), default=0
        )

    def silent_since(self, voter: int, node: int, newest: Message | None, heard_at: int) -> int:
        """Return when, at the latest, `node` sent the newest message the voter acknowledged.

        `newest` is what we heard of it ourselves, at `heard_at`; ns.
        """
        words = self._words.get(voter)
        statement = words.acknowledged(node) if words else None
        if statement is None:
            return words.began if words else self.started
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
        return [one for words in self._words.values() if (one := words.known(node)) is not None]

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


def _since(before: list[int], same: list[bool], now: int) -> list[int]:
    """Return since when a voter says what it says `now`, where it said the `same` before."""
    return [since if is_same else now for since, is_same in zip(before, same, strict=True)]


def _of_before(known: _Statement | None, said: Heard, now: int) -> int:
    """Return since when a voter says this, of whom it said `known` before."""
    if known and known[:2] == (said.incarnation, said.sequence):
        return known.since
    return now


def _without(
    statements: Mapping[int, _Statement | None], named: Container[int]
) -> dict[int, _Statement]:
    """Return the statements of who is not `named`."""
    return {node: one for node, one in statements.items() if one and node not in named}


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
