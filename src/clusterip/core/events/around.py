"""The other nodes, and this host."""

from __future__ import annotations

import msgspec

from clusterip.core.buckets import counted
from clusterip.core.events.event import Event, Level
from clusterip.core.findings import Finding
from clusterip.core.units import SECOND


class PeerHeard(Event, frozen=True, kw_only=True):
    """A node is heard for the first time, or is a new daemon."""

    lasts = True
    burst = 12
    quiet = 30 * SECOND
    node: str
    anew: bool = False
    """Whether it was heard before, and began without memory."""

    def _text(self) -> str:
        return f"{self.node} was started anew" if self.anew else f"{self.node} is heard"

    def _topic(self) -> str:
        return f"node {self.node}"


class PeerSilent(Event, frozen=True, kw_only=True):
    """A node is not heard, or not any more."""

    lasts = True
    burst = 12
    quiet = 30 * SECOND
    node: str
    finding: Finding
    buckets: list[int] = msgspec.field(default_factory=list)
    """What it held."""
    expected: bool = False
    """Whether it said that it would end."""

    def _level(self) -> Level:
        return Level.INFO if self.expected else Level.WARNING

    def _text(self) -> str:
        line = self.finding.line
        if not self.buckets:
            return line
        return f"{line}{'' if line.endswith('?') else '.'} It held {counted(self.buckets)}"

    def _topic(self) -> str:
        return f"node {self.node}"


class PeerBack(Event, frozen=True, kw_only=True):
    """A node that was silent is heard again."""

    lasts = True
    burst = 12
    quiet = 30 * SECOND
    node: str
    seconds: float
    """How long it was not heard."""
    anew: bool = False
    """Whether it began without memory."""

    def _text(self) -> str:
        anew = ", started anew" if self.anew else ""
        return f"{self.node} is back after {self.seconds:.1f} s{anew}"

    def _topic(self) -> str:
        return f"node {self.node}"


class VotersChanged(Event, frozen=True, kw_only=True):
    """Other voters than before are in use here."""

    voters: list[str]

    def _text(self) -> str:
        return f"the voters are {', '.join(self.voters)} now"


class HealthChanged(Event, frozen=True, kw_only=True):
    """This host is healthy, or not any more."""

    usual = Level.WARNING
    lasts = True
    burst = 10
    quiet = 30 * SECOND
    healthy: bool
    cause: str = ""
    """The check and its result."""

    def _text(self) -> str:
        why = f" ({self.cause})" if self.cause else ""
        return f"{'healthy' if self.healthy else 'UNHEALTHY'}{why}"


class LinkChanged(Event, frozen=True, kw_only=True):
    """The interface can be served through, or not any more."""

    usual = Level.WARNING
    lasts = True
    burst = 10
    quiet = 30 * SECOND
    up: bool
    cause: str = ""
    """Why it is not in our control, "" where it is down."""

    def _text(self) -> str:
        if self.up:
            return "the interface is up"
        how = f"not in our control ({self.cause})" if self.cause else "down"
        return f"the interface is {how}: serving nothing"


class ControlLost(Event, frozen=True, kw_only=True):
    """The filters cannot be kept on the interface."""

    usual = Level.ERROR
    lasts = True
    burst = 5
    interface: str
    cause: str

    def _text(self) -> str:
        return f"{self.interface} is not in our control any more: {self.cause}"

    def _topic(self) -> str:
        return "control"


class ControlBack(Event, frozen=True, kw_only=True):
    """The filters are kept on the interface again."""

    lasts = True
    burst = 5
    interface: str
    seconds: float
    """How long they were not."""

    def _text(self) -> str:
        return f"{self.interface} is in our control again, after {self.seconds:.1f} s"

    def _topic(self) -> str:
        return "control"


class PutBack(Event, frozen=True, kw_only=True):
    """Something that others took away was put back, or a VIP that they added taken off."""

    usual = Level.WARNING
    burst = 3
    quiet = 150 * SECOND
    what: str
    where: str = ""
    taken_off: bool = False

    def _level(self) -> Level:
        return Level.ERROR if self.taken_off else self.usual

    def _text(self) -> str:
        if self.taken_off:
            return f"a VIP that others added was taken off: {self.what}"
        on, cure = (f" on {self.where}", "takes it away") if self.where else ("", "removes it")
        return f"put back{on}, for it was gone: {self.what}; find out what {cure}"

    def _topic(self) -> str:
        return f"put back {self.what}"
