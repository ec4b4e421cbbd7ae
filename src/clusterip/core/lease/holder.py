"""What a holder may conclude from the grants it hears of: until when each bucket is its own.

1. A voter's message proves: at some time after it heard our message s, it had promised us those
   buckets. It heard s after we sent it; so its promise stands until at least D after we sent s.
2. So a grant counts from the time we *sent* s, by our own clock, for L: never from the reply.
3. It counts only for buckets that s asked for and every message since: what we released after s
   may have been given away, and a late message must not revive it.
4. A bucket is ours until the earliest of the L's of the best majority that grants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from clusterip.core.lease.voter_set import Quorum

CONTACT: Final = 1 << 256
"""A bit above all buckets: the voter hears us, and we hear it. While that is so of a majority, we
may ask for buckets."""
DRAINS: Final = 1 << 257
"""A bit above all buckets: the voter heard us, so that we may go on serving the connections of
buckets that we gave away. It counts for the grace of a restart, our own or the voter's, only if all
who may have these buckets had heard of the grace."""


class Sent(NamedTuple):
    """What is remembered of a message that was sent `at`, ns.

    `lease` is what it asked for, `contact` for how long to have been heard by it counts, at most
    the lease: both ns. `held` is the mask of what it said is held.
    """

    at: int
    lease: int
    contact: int
    held: int


class Binding(NamedTuple):
    """Until when (ns) a voter that meant to restart is bound, as its message `sequence` says.

    The sequence is 0 where a predecessor saw that all know of it.
    """

    until: int
    sequence: int


class Holder:
    """The proofs of one node that it holds buckets."""

    def __init__(self) -> None:
        self.advertised = 0
        """Mask of the buckets the newest message asked for."""
        self.since: dict[int, int] = {}
        """Sequence -> mask of the buckets asked for since that message without a break."""
        self.sent: dict[int, Sent] = {}
        self.proofs: dict[int, tuple[int, int]] = {}
        """Voter -> until when (ns) its grants count, and of which buckets."""
        self.contact: dict[int, int] = {}
        """Voter -> until when (ns) it counts that it heard us."""
        self.bindings: dict[int, Binding] = {}
        """Voter that announced a grace -> what it said first of that."""
        self.doubted_until = 0
        """The newest message from before the latest `doubt`."""
        self.doubted: frozenset[int] = frozenset()
        """Voters that acknowledged nothing since `doubt`."""
        self._ends: list[tuple[int, int]] = []
        """What `ends` returned last."""
        self._ends_for: Sequence[Quorum] | None = None
        """For which quorums that was, None where it may be otherwise now."""
        self._room = 0
        """How many more voters may say what `_may_move` means before it is otherwise."""

    def asked_by(self, sequence: int) -> int:
        """Return the mask of buckets asked for by that message and by all since."""
        asked = 0
        for since, buckets in self.since.items():
            if since <= sequence:
                asked |= buckets
        return asked

    def say(
        self, sequence: int, want: int, held: int, lease: int, contact: int, *, now: int
    ) -> None:
        """Note that message `sequence` leaves now and asks for `want`; the rest is as in `Sent`."""
        more = want & ~self.advertised
        gone = self.advertised & ~want
        if gone:
            for since, buckets in list(self.since.items()):
                if buckets & gone:
                    self._drop(since, gone)
            self.proofs = {
                voter: (until, buckets & ~gone) for voter, (until, buckets) in self.proofs.items()
            }
            self._ends_for = None
        if more:
            self.since[sequence] = more
        self.advertised = want
        self.sent[sequence] = Sent(now, lease, contact, held)
        while True:
            oldest, first = next(iter(self.sent.items()))
            if first.at + first.lease > now:
                break
            del self.sent[oldest]

    def _drop(self, since: int, gone: int) -> None:
        self.since[since] &= ~gone
        if not self.since[since]:
            del self.since[since]

    def acknowledge(
        self,
        voter: int,
        sequence: int,
        granted: int,
        *,
        at_least: int = 0,
        said: int = 0,
    ) -> None:
        """Take in that `voter` heard our message `sequence` and had granted `granted`.

        `at_least` is a grace for which the voter keeps its grants, ns, as it said in its message
        with the sequence `said`.
        """
        sent = self.sent.get(sequence)
        if sent is None or sequence <= self.doubted_until:
            return  # its lease is long over, or may be
        since = sent.at
        until = since + max(sent.lease, at_least)
        proof, contact = (until, granted & self.asked_by(sequence)), since + sent.contact
        if self._ends_for is not None and self._may_move(voter, proof, contact):
            self._room -= 1
            if self._room < 0:
                self._ends_for = None
        self.proofs[voter], self.contact[voter] = proof, contact
        if not at_least:
            self.bindings.pop(voter, None)
        elif voter not in self.bindings:
            self.bindings[voter] = Binding(since + at_least, said)
        self.doubted -= {voter}

    def is_same(self, quorums: Sequence[Quorum]) -> bool:
        """Return whether `ends` would return again what it returned last, for these quorums."""
        return self._ends_for is quorums

    def _may_move(self, voter: int, proof: tuple[int, int], contact: int) -> bool:
        """Return whether what a voter says now may change the ends of leases.

        Each end is that of the voter which is the last of those needed. A voter that grants for
        longer what it granted before changes it only by passing it, as one of as many as there are
        places before that: so of 32 nodes most renew nothing but their own word.
        """
        before, heard = self.proofs.get(voter), self.contact.get(voter)
        if (
            before is None
            or heard is None
            or before[1] != proof[1]
            or before[0] > proof[0]
            or heard > contact
        ):
            self._room = 0
            return True
        return any(before[0] <= end < proof[0] or heard <= end < contact for end, _ in self._ends)

    def cut(self, stood: int) -> None:
        """Shorten all leases by `stood`, ns, for which our clock stood still."""
        self.sent = {
            sequence: sent._replace(at=sent.at - stood) for sequence, sent in self.sent.items()
        }
        self.proofs = {
            voter: (until - stood, buckets) for voter, (until, buckets) in self.proofs.items()
        }
        self.contact = {voter: until - stood for voter, until in self.contact.items()}
        self.bindings = {
            voter: one._replace(until=one.until - stood) for voter, one in self.bindings.items()
        }
        self._ends_for = None

    def doubt(self) -> None:
        """Let nothing count any more that acknowledges a message from before."""
        self.doubted_until = max(self.sent, default=self.doubted_until)
        self.doubted = frozenset(self.contact)

    def sure(self, quorums: Sequence[Quorum]) -> bool:
        """Return whether a majority acknowledged something since `doubt`."""
        heard_by = self.contact.keys() - self.doubted
        return all(len(voters & heard_by) >= need for voters, need in quorums)

    def believe(self) -> None:
        """Forget what voters said before `doubt`, when enough have said something since."""
        self.proofs = {one: said for one, said in self.proofs.items() if one not in self.doubted}
        self.contact = {
            one: until for one, until in self.contact.items() if one not in self.doubted
        }
        self.bindings = {
            one: bound for one, bound in self.bindings.items() if one not in self.doubted
        }
        self.doubted = frozenset()
        self._ends_for = None

    def ends(
        self, quorums: Sequence[Quorum], bound: Mapping[int, int] = MappingProxyType({})
    ) -> list[tuple[int, int]]:
        """Return (end of the lease, mask of the buckets), latest first, no bucket twice.

        `bound` says until when voters count to what drains here, for the graces they announced.
        """
        if self._ends_for is quorums and not bound:
            return self._ends
        self._room = min(need for _, need in quorums)
        found = self._ends_of(quorums[0], bound)
        for quorum in quorums[1:]:
            other = self._ends_of(quorum, bound)
            found = [(min(a, c), b & d) for a, b in found for c, d in other if b & d]
        ends: dict[int, int] = {}
        for end, buckets in found:
            ends[end] = ends.get(end, 0) | buckets
        self._ends, self._ends_for = sorted(ends.items(), reverse=True), quorums
        if bound:
            self._ends_for = None
        if len(quorums) > 1:
            self._room = 0
        return self._ends

    def _ends_of(self, quorum: Quorum, bound: Mapping[int, int]) -> list[tuple[int, int]]:
        """Return (end of the lease, mask), no bucket twice, as far as one quorum goes.

        What enough voters grant ends with the grant that is the last of the longest of them.
        """
        voters, need = quorum
        # All voters grant the same, as a rule: so what is counted are masks, and not buckets.
        granted: dict[int, list[int]] = {}
        for voter, (until, buckets) in self.proofs.items():
            if voter in voters:
                granted.setdefault(buckets, []).append(until)
        heard = self.contact
        if not heard.keys() <= voters:
            heard = {voter: until for voter, until in heard.items() if voter in voters}
        counted = [
            (part, [one for mask in granted if mask & part for one in granted[mask]])
            for part in _parts(granted)
        ]
        counted.append((CONTACT if bound else CONTACT | DRAINS, [*heard.values()]))
        if bound:
            longest = [max(until, bound.get(voter, 0)) for voter, until in heard.items()]
            counted.append((DRAINS, longest))
        found = []
        for part, ends in counted:
            if len(ends) >= need:
                ends.sort(reverse=True)
                last = ends[need - 1]
                self._room = min(self._room, need - 1 - ends.index(last))
                found.append((last, part))
        return found


def _parts(masks: Iterable[int]) -> list[int]:
    """Return the masks that these are made of: none has a bucket of another one."""
    parts: list[int] = []
    for mask in masks:
        rest, split = mask, []
        for part in parts:
            split += [some for some in (part & mask, part & ~mask) if some]
            rest &= ~part
        parts = [*split, rest] if rest else split
    return parts
