"""Who lives, by what was heard of them: looked up anew only where that may have changed.

Most messages change nothing but when their sender was heard last. So they take the place of the one
before, and what follows from who lives, and has and wants what, need not be made anew (`turns`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from clusterip.core.messages.message import Message

if TYPE_CHECKING:
    from clusterip.core.lease.peers import Peer

_HAS: Final = slice(Message._fields.index("weight"), Message._fields.index("draining") + 1)
"""What a message says that its sender has, asks for and is fit for."""
_NEVER: Final = 1 << 63


class Living:
    """The newest messages of those who live (`heard`), and of those who hear us as well."""

    def __init__(self) -> None:
        self.turns = 0
        """Rises whenever others live, or one of them has, asks for or is fit for something else."""
        self.heard: dict[int, Message] = {}
        self.hear_us: dict[int, Message] = {}
        self.holds_until = 0
        """Before that, ns, none of them is dead; 0 where they are to be looked up anew."""

    def look(self, peers: Mapping[int, Peer], now: int) -> None:
        """Look up who lives, if need be."""
        if now < self.holds_until:
            return
        self.heard, self.hear_us = {}, {}
        self.turns += 1
        self.holds_until = _NEVER
        for node, peer in peers.items():
            if peer.newest and peer.alive_until > now:
                self.heard[node] = peer.newest
                self.holds_until = min(self.holds_until, peer.alive_until)
                if peer.hears_us:
                    self.hear_us[node] = peer.newest

    def forget(self) -> None:
        """Look them up anew: they may be others."""
        self.holds_until = 0

    def note(self, message: Message, peer: Peer, now: int) -> None:
        """Have what a peer says now in place of what it said before, where it lives as it did."""
        node = message.sender
        before = self.heard.get(node)
        lives = peer.alive_until > now
        if (lives, lives and peer.hears_us) != (before is not None, node in self.hear_us):
            self.forget()
        elif before is not None:
            self.heard[node] = message
            if peer.hears_us:
                self.hear_us[node] = message
            self.holds_until = min(self.holds_until, peer.alive_until)
            if message[_HAS] != before[_HAS]:
                self.turns += 1
