"""Buckets that come and go."""

from __future__ import annotations

import msgspec

from clusterip.core.buckets import counted
from clusterip.core.events.event import Event, Level
from clusterip.core.words import amount


class _Buckets(Event, frozen=True, kw_only=True):
    buckets: list[int]


class BucketsTaken(_Buckets, frozen=True, kw_only=True):
    """This node answers buckets from now on."""

    came_from: str | None = msgspec.field(default=None, name="from")
    """The node that had them before; None if nobody had."""
    cause: str

    def _text(self) -> str:
        return f"serving {counted(self.buckets)}, {self.cause}"


class BucketsGiven(_Buckets, frozen=True, kw_only=True):
    """This node gave buckets away, and nothing of them is left here."""

    to: str
    cause: str

    def _text(self) -> str:
        return f"gave {counted(self.buckets)} to {self.to}, {self.cause}; drained already"


class BucketsLost(_Buckets, frozen=True, kw_only=True):
    """This node answers buckets no longer, and gave them to nobody."""

    cause: str

    def _text(self) -> str:
        return f"serving {counted(self.buckets)} no longer: {self.cause}"


class DrainBegan(_Buckets, frozen=True, kw_only=True):
    """This node gives buckets away, and keeps their open connections."""

    to: str
    cause: str

    def _text(self) -> str:
        return (
            f"giving {counted(self.buckets)} to {self.to}, {self.cause}; open connections stay here"
        )


class DrainEnded(_Buckets, frozen=True, kw_only=True):
    """Nothing of buckets that were given away is left here."""

    cause: str = ""
    """What cut it short, "" where it ended by itself."""

    def _text(self) -> str:
        short = f", cut short: {self.cause}" if self.cause else ""
        return f"drained {counted(self.buckets)}{short}"


class ConnectionsCut(_Buckets, frozen=True, kw_only=True):
    """A drain took too long, and connections were cut off."""

    usual = Level.WARNING
    connections: int | None
    """How many; None where they could not be counted."""
    seconds: int
    """How long the drain took."""

    def _text(self) -> str:
        some, after = counted(self.buckets), f"after a drain of {self.seconds} s"
        if self.connections is None:
            return f"{some} given up uncounted, {after}"
        return f"{amount(self.connections, 'connection')} of {some} cut off, {after}"
