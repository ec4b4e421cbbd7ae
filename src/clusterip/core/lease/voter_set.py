"""Which nodes vote, and which other set of voters may be in use beside ours.

Files are changed host by host, so a set and its successor are in use at once. That is safe for
two reasons, either of which would do between neighbours:

- Neighbours differ by one voter, so a majority of one meets every majority of the other: of n
  and n + 1 voters, the majorities sum to n + 2 where there are n + 1 hosts.
- A node on its way from one set to the next needs a majority of both, so two nodes that leave
  the same set in different directions still meet in it.

A node takes the next step only when every voter that is in both sets was heard lately, with this
node's set, and has itself forgotten the one before: sets two steps apart are never in use. A set
that is neither ours, nor the one before ours, nor the one after ours, neither gets our grants
nor gives us its own.

What this cannot see: a host that starts again with a file older than the one it ran. It is alone
with its set as long as the others forgot that set, so it gets no grants; half of the voters
doing so at once is a different cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from clusterip.core.errors import RefusedError
from clusterip.core.messages.message import Message, digest_of_voters

Quorum = tuple[frozenset[int], int]
"""The voters that count and how many of them must grant."""


class UnsettledError(RefusedError):
    """The change before has not reached every voter, as far as is heard."""


class VoterSet:
    """The voters of one node's configuration, and the set before while it may be in use."""

    def __init__(self, voters: Iterable[int], previous: Iterable[int] = ()) -> None:
        self.voters = frozenset(voters)
        self.digest = digest_of_voters(self.voters)
        self.before = frozenset(previous)
        self.previous = digest_of_voters(self.before) if self.before else 0
        self.known = self.voters | self.before
        self.quorums: list[Quorum] = [
            (some, len(some) // 2 + 1) for some in (self.voters, self.before) if some
        ]

    def near(self, message: Message) -> bool:
        """Return whether the sender's set is ours, the one before ours or the one after it."""
        known = message.voters in {self.digest, self.previous}
        return known or message.previous == self.digest

    def settled(self, newest: dict[int, Message], me: int) -> bool:
        """Return whether every other voter was heard lately with this set."""
        return all(
            node == me or (node in newest and newest[node].voters == self.digest)
            for node in self.voters
        )

    def successor(self, voters: Iterable[int], newest: dict[int, Message], me: int) -> VoterSet:
        """Return the next set, whose predecessor is this one.

        `newest` are the messages of the peers heard lately. Raises RefusedError while the step
        would be unsafe.
        """
        following = frozenset(voters)
        if not self.one_apart(following):
            raise RefusedError(
                "the new voter set differs from the present one by more than one voter",
                "add or remove one node at a time, on every host before the next",
            )
        after = VoterSet(following, self.voters)
        waiting = [
            node
            for node in self.voters & following
            if node != me and not (node in newest and self._may_follow(newest[node], after))
        ]
        if self.previous or waiting:
            raise UnsettledError(
                "the last change of the voter set has not reached every node",
                "try again in a few seconds: `clusterip show` says who runs with other voters",
            )
        return after

    def _may_follow(self, message: Message, after: VoterSet) -> bool:
        """Return whether the sender forgot the set before this one, or went ahead to the next."""
        return message.voters == after.digest or (
            message.voters == self.digest and message.previous == 0
        )

    def one_apart(self, following: frozenset[int]) -> bool:
        """Return whether one voter was added or removed."""
        return len(self.voters ^ following) == 1
