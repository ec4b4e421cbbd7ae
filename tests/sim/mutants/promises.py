"""Deliberate bugs in what is promised, and in what a promise is taken for."""

from __future__ import annotations

from collections.abc import Iterable

from clusterip.core.lease.holder import Holder
from clusterip.core.lease.node import Node
from clusterip.core.lease.voter import Grantee, Promise, Voter
from clusterip.core.lease.voter_set import VoterSet
from clusterip.core.messages.message import Message


class LeaseFromReply(Holder):
    """The lease is counted from when the grant arrives."""

    def starts(self, sent_at: int, now: int) -> int:
        return now


class ShortPromise(Voter):
    """D is below L."""

    def length(self, grace: int) -> int:
        return super().length(grace) - self.timing.lease // 3


class LateGrantRevives(Holder):
    """A grant counts whatever was released since the message it acknowledges."""

    def asked_by(self, sequence: int) -> int:
        return self.advertised


class GivesAwayEarly(Voter):
    """A bucket is given to whoever asks, released or not."""

    def free(self) -> int:
        return -1

    def give(self, *, now: int) -> bool:
        given = super().give(now=now)
        last: Promise | None = None
        for promise in self.promises.values():
            if last:
                last.buckets &= ~promise.wants
            last = promise
        return given


class NeverMute(Voter):
    """A voter that lost its memory grants at once."""

    def muted(self, now: int) -> bool:
        return False


class IgnoresTerm(Voter):
    """A voter does not wait longer for a planned restart."""

    def length(self, grace: int) -> int:
        return super().length(0)


class TakesAnySet(VoterSet):
    """Voter sets any distance apart work together."""

    def one_apart(self, following: frozenset[int]) -> bool:
        return True

    def successor(self, voters: Iterable[int], newest: dict[int, Message], me: int) -> VoterSet:
        return TakesAnySet(voters)

    def near(self, message: Message) -> bool:
        return True


class Unasked(Holder):
    """A grant counts for what no message asked for."""

    def asked_by(self, sequence: int) -> int:
        return -1


class NodeFromReply(Node):
    holder_class = LeaseFromReply


class NodeShortPromise(Node):
    voter_class = ShortPromise


class NodeLateGrant(Node):
    holder_class = LateGrantRevives


class NodeGivesEarly(Node):
    voter_class = GivesAwayEarly


class NodeNeverMute(Node):
    voter_class = NeverMute


class NodeIgnoresTerm(Node):
    voter_class = IgnoresTerm


class NodeAnySet(Node):
    voter_set_class = TakesAnySet


class NodeUnasked(Node):
    holder_class = Unasked


class NodeAnyIncarnation(Node):
    """A voter tells a node of what it promised to any of its incarnations."""

    def _is_this(self, grantee: Grantee, newest: dict[int, int]) -> bool:
        return grantee[0] in newest
