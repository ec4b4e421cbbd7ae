"""Another daemon that runs as this node, by a file or a machine that was copied.

Both have what is the node's: its vote, its place in the plan, in `alive` mode the right to go on
alone. The others let one of them count, and cannot always tell that there are two. The two can, for
what is said to everybody comes to both. So who hears the other, or is told that another counts in
its place, is *barred*: it serves nothing, asks for nothing, acknowledges and grants nothing, until
the longest promise that the other may have given or been given is over.

1. It is heard when it echoes what we sent after we saw it first (`peers`): what was recorded of
   former incarnations does not. So each says in its messages that it heard the other.
2. Who serves, or has promised something, goes on beside one that claims nothing: that is one which
   starts, and it is barred as soon as it hears this. Where both claim something, whoever hears the
   other first is barred, and claims nothing from then on; or both are.
3. One that never showed that it hears us may be deaf, or recordings. It keeps us only from going
   on alone: then nobody could tell us that it does.
"""

from __future__ import annotations

from clusterip.core.lease.peers import Peers
from clusterip.core.messages.message import Heard, Message
from clusterip.core.serving.actions import Reception


class Namesake:
    """What is known of it; `barred_until`, ns, is the owner's to set."""

    def __init__(self, me: int, peers: Peers) -> None:
        self._me = me
        self._peers = peers
        self._peer = peers.learn(me)
        self.barred_until = 0
        self._told: dict[int, tuple[Heard, int]] = {}
        """Node -> the newest of it that the other says it heard, and when it said so first, ns."""

    def receive(
        self, message: Message, sequence: int, *, hears_us: bool, now: int
    ) -> tuple[Reception, bool]:
        """Take in a message of another incarnation; return what it is, and whether that is new.

        `sequence` is that of the newest message we sent; `hears_us` says whether it echoes one that
        we sent less than L ago.
        """
        new = message.incarnation not in self._peer.unproven
        verdict = self._peers.judge(message, sequence, elsewhere=0, now=now)
        if verdict is Reception.ACCEPTED:
            self._peers.accept(message, hears_us=hears_us, alive_until=0, excused_until=0, now=now)
            for heard in message.heard:
                known, since = self._told.get(heard.node, (None, now))
                same = known is not None and known[:3] == heard[:3]
                self._told[heard.node] = heard, since if same else now
        return verdict, new

    def owed(self, *, now: int) -> tuple[Heard, ...]:
        """Return the echo that shows it that we hear it; that is no acknowledgement."""
        if not self.speaks(now=now):
            return ()
        owed = self._peers.owed(silent_since=now - self._peers.awaited, now=now)
        return tuple(echo._replace(known=False, acknowledged=False) for echo in owed)

    def may_serve(self, *, now: int) -> bool:
        """Return whether it may go on alone without a word of ours that stops it."""
        peer, since = self._peer, now - self._peers.promise_length
        yields = bool(
            peer.newest and peer.hears_us and peer.heard_at > since and not peer.newest.claims
        )
        return self.speaks(now=now) and not yields

    def hears(self, node: int, incarnation: int, sequence: int, *, now: int) -> bool:
        """Return whether it said of late that it heard of `node` what is new to us as well.

        The newest that we heard is message `sequence` of that incarnation.
        """
        told, since = self._told.get(node, (None, 0))
        if told is None or since + self._peers.promise_length <= now:
            return False
        return told.incarnation != incarnation or told.sequence > sequence

    def speaks(self, *, now: int) -> bool:
        """Return whether it said something new of late, proven or not."""
        spoke_at = max(self._peer.heard_at, self._peer.spoke_at)
        return bool(spoke_at) and spoke_at + self._peers.promise_length > now
