"""How a daemon begins, is replaced, and ends."""

from __future__ import annotations

import msgspec

from clusterip.core.events.event import Event, Level
from clusterip.core.words import amount


class Started(Event, frozen=True, kw_only=True):
    """A daemon began."""

    cluster: str
    node: str
    interface: str | None
    """None for a witness."""
    voters: int
    quorum: str
    vips: list[str]

    def _text(self) -> str:
        where = "witness" if self.interface is None else f"on {self.interface}"
        return (
            f"cluster {self.cluster}: node {self.node}, {where}, {amount(self.voters, 'voter')}"
            f" ({self.quorum}), VIPs {', '.join(self.vips)}"
        )


class Waiting(Event, frozen=True, kw_only=True):
    """A daemon waits for its interface, or it is there."""

    burst = 10
    lasts = True
    usual = Level.WARNING
    interface: str
    over: bool = False
    cause: str = ""
    cure: str = ""

    def _level(self) -> Level:
        return Level.INFO if self.over else self.usual

    def _text(self) -> str:
        if self.over:
            return f"{self.interface} is there"
        return f"waiting: {self.cause}; {self.cure}"


class HandingOver(Event, frozen=True, kw_only=True):
    """A planned restart: this daemon ends, and its successor begins."""

    def _text(self) -> str:
        return "handing over to a successor"


class Restarted(Event, frozen=True, kw_only=True):
    """A planned restart: this daemon goes on with the memory of the one before, or cannot."""

    cause: str = ""
    """Why it begins without that memory, "" where it has it."""
    serious: bool = False

    def _level(self) -> Level:
        return Level.ERROR if self.serious else Level.WARNING if self.cause else Level.INFO

    def _text(self) -> str:
        return self.cause or "taking over from the daemon before, buckets and all"


class RestartRefused(Event, frozen=True, kw_only=True):
    """A planned restart, here or of another node, came to nothing."""

    usual = Level.ERROR
    burst = 3
    cause: str
    node: str | None = None
    """Whose restart this node does not agree to, None for its own."""
    begun: bool = False
    """Whether it had begun."""
    voted: bool = False
    """Whether it was for the voters to agree, who did not."""

    def _level(self) -> Level:
        return Level.WARNING if self.voted else self.usual

    def _text(self) -> str:
        if self.voted:
            return f"{self.cause}: going on"
        if self.node is not None:
            return f"no restart of {self.node} is agreed to here: {self.cause}"
        return f"{'no restart, all goes on' if self.begun else 'not restarting'}: {self.cause}"

    def _topic(self) -> str:
        return f"restart of {self.node}: {self.cause}"


class Stopping(Event, frozen=True, kw_only=True):
    """A daemon was told to stop: it drains first, or ends now."""

    drains: bool = False

    def _text(self) -> str:
        return (
            "stopping: draining first; a second signal stops at once" if self.drains else "stopping"
        )


class StopCutShort(Event, frozen=True, kw_only=True):
    """The drain of a daemon that is to stop ended before it was done."""

    usual = Level.WARNING
    cause: str
    buckets: list[int] = msgspec.field(default_factory=list)

    def _text(self) -> str:
        return self.cause


class Failed(Event, frozen=True, kw_only=True):
    """A daemon ends, for something failed."""

    usual = Level.ERROR
    cause: str
    detail: str = ""
    """Where: lines for who mends it."""

    def _text(self) -> str:
        return self.cause
