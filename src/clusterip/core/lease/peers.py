"""Who was heard: which message is new, which is a replay, and who lives.

Per sender the sequence rises strictly within one boot id. A boot id that we do not know counts
only once it echoes a message that we sent after we first saw it: what an attacker recorded
earlier cannot contain that, so no old boot ever comes back to life. Until then a message changes
nothing here but the echo we owe its sender, so that two nodes that know nothing of one another
can prove themselves to each other.
"""

from __future__ import annotations

from clusterip.core.lease.events import Reception
from clusterip.core.messages.message import Heard, Message


class Peer:
    """What is known of one sender. 0 stands for none."""

    __slots__ = (
        "alive_until",
        "boot",
        "borne_until",
        "heard_at",
        "mark",
        "marked_at",
        "newest",
        "seen_boot",
        "seen_sequence",
    )

    def __init__(self) -> None:
        self.boot = 0
        self.newest: Message | None = None
        self.heard_at = 0
        self.alive_until = 0
        self.borne_until = 0  # until then its silence means nothing
        self.seen_boot = 0
        self.seen_sequence = 0
        self.mark = 0  # our sequence that an unknown boot must echo
        self.marked_at = 0


class Peers:
    """All senders, seen by node `me` in boot `boot`."""

    def __init__(self, me: int, boot: int) -> None:
        self.me = me
        self.boot = boot
        self.all: dict[int, Peer] = {}
        self._former: list[tuple[Message, int]] = []
        """What those forgotten said last, and until when, ns, they may answer packets."""

    def learn(self, node: int) -> Peer:
        """Return what is known of `node`."""
        peer = self.all.get(node)
        if peer is None:
            peer = self.all[node] = Peer()
        return peer

    def judge(self, message: Message, sequence: int, *, now: int) -> Reception:
        """Decide whether `message` is new; `sequence` is that of the newest message we sent."""
        peer = self.learn(message.sender)
        if message.boot == peer.boot:
            newest = peer.newest.sequence if peer.newest else peer.seen_sequence
            return Reception.ACCEPTED if message.sequence > newest else Reception.REPLAYED
        if not peer.mark:
            peer.mark = sequence + 1
            peer.marked_at = now
        if self.proves(message, peer.mark):
            return Reception.ACCEPTED
        if message.boot != peer.seen_boot or message.sequence > peer.seen_sequence:
            peer.seen_boot = message.boot
            peer.seen_sequence = message.sequence
        return Reception.UNPROVEN

    def proves(self, message: Message, mark: int) -> bool:
        """Return whether an unknown boot has heard what we sent since we first saw it."""
        return message.heard_of(self.me, self.boot) >= mark

    def accept(self, message: Message, *, alive_until: int, borne_until: int, now: int) -> None:
        """Take in a message that was judged new.

        The sender counts as alive until `alive_until`, 0 if we cannot serve together; its silence
        is not taken for death until `borne_until`: both ns.
        """
        peer = self.all[message.sender]
        if message.boot != peer.boot:
            peer.boot = message.boot
            peer.mark = 0
        peer.newest = message
        peer.heard_at = now
        peer.alive_until = alive_until
        peer.borne_until = max(peer.borne_until, borne_until)

    def lingering(self, *, now: int) -> list[Message]:
        """Return the newest message of each forgotten peer that may still answer packets."""
        self._former = [(message, until) for message, until in self._former if until > now]
        return [message for message, _ in self._former]

    def keep(self, nodes: frozenset[int], *, until: int) -> None:
        """Forget all others: they are no voters any more, and are owed nothing.

        By `until`, ns, nobody hears them any more.
        """
        self._former += [
            (peer.newest, max(until, peer.borne_until))
            for node, peer in self.all.items()
            if node not in nodes and peer.newest
        ]
        self.all = {node: peer for node, peer in self.all.items() if node in nodes}

    def owed(self, *, silent_since: int) -> tuple[Heard, ...]:
        """Return the echoes we owe.

        An unproven boot takes the place of the known one only when that has been silent since
        `silent_since`, ns: replays of an old boot must not cost a live peer its acknowledgements.
        """
        owed = []
        for node, peer in self.all.items():
            if peer.newest and (peer.heard_at > silent_since or not peer.mark):
                owed.append(Heard(node, peer.boot, peer.newest.sequence))
            elif peer.seen_boot:
                owed.append(Heard(node, peer.seen_boot, peer.seen_sequence))
        return tuple(owed)

    def lately(self, *, since: int) -> dict[int, Message]:
        """Return the newest message of each peer heard after `since`, ns, whatever it says."""
        return {
            node: peer.newest
            for node, peer in self.all.items()
            if peer.newest and peer.heard_at > since
        }

    def living(self, *, now: int) -> dict[int, Message]:
        """Return the newest message of each peer that lives."""
        return {
            node: peer.newest
            for node, peer in self.all.items()
            if peer.newest and peer.alive_until > now
        }
