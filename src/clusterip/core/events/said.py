"""What is wrong, what was asked, and whatever else is said."""

from __future__ import annotations

from clusterip.core.events.event import Event, Level
from clusterip.core.findings import Finding
from clusterip.core.units import SECOND
from clusterip.core.words import amount


class AlarmRaised(Event, frozen=True, kw_only=True):
    """Something is wrong, or unwise; its code is in findings.md."""

    burst = 5
    finding: Finding
    about: str = ""
    """The node or the address that it is about, where there are several."""
    advice: bool = False
    """Whether it is unwise, and would be better otherwise."""

    def _level(self) -> Level:
        return Level.ERROR if self.finding.is_fault and not self.advice else Level.WARNING

    def _text(self) -> str:
        if self.advice:
            return f"{self.finding.sentence}; better: {self.finding.cure}"
        return self.finding.line

    def _topic(self) -> str:
        return f"alarm {self.finding.code} {self.about}"


class AlarmCleared(Event, frozen=True, kw_only=True):
    """What was wrong is over."""

    burst = 5
    code: str
    about: str = ""
    what: str
    """What was wrong, or what is so now where `said` is true."""
    seconds: float
    """How long it lasted."""
    count: int = 1
    """How often it was found."""
    said: bool = False

    def _text(self) -> str:
        if self.said:
            return self.what
        times = f", {self.count} times" if self.count > 1 else ""
        return f"over after {self.seconds:.0f} s{times}: {self.what}"

    def _topic(self) -> str:
        return f"over {self.code} {self.about}"


class ConfigChanged(Event, frozen=True, kw_only=True):
    """This daemon goes by the file as it is now."""

    burst = 3
    changes: list[str]
    told: str

    def _text(self) -> str:
        return f"reloaded: {self.told}"

    def _topic(self) -> str:
        return self._text()


class ConfigRefused(Event, frozen=True, kw_only=True):
    """This daemon does not go by the file as it is now."""

    usual = Level.ERROR
    burst = 5
    cause: str

    def _text(self) -> str:
        return f"not reloaded: {self.cause}"

    def _topic(self) -> str:
        return f"not reloaded: {self.cause}"


class Commanded(Event, frozen=True, kw_only=True):
    """A command was given, here or by another node."""

    burst = 20
    quiet = 10 * SECOND
    what: str
    """As the command line has it: `drain`, `weight 7`."""
    node: str | None = None
    """Of which node it was asked through this one, None for this one."""
    by: str | None = None
    """The node that asks, None where it was asked here."""

    def _text(self) -> str:
        if self.by is not None:
            return f"{self.by} asks this node: {self.what}"
        who = "this node" if self.node is None else f"{self.node}, through this node,"
        return f"{who} was asked: {self.what}"

    def _topic(self) -> str:
        # What was asked is said, however often another thing was.
        return f"{self.what.partition(' ')[0]} of {self.node} asked by {self.by}"


class CommandRefused(Event, frozen=True, kw_only=True):
    """A command was not obeyed."""

    usual = Level.WARNING
    burst = 5
    what: str
    cause: str
    by: str | None = None
    late: bool = False

    def _text(self) -> str:
        if self.by is None:
            return f"refused: {self.what}: {self.cause}"
        asked = f"{self.by} asks this node: {self.what}"
        return (
            f"not done, for {self.cause}: {asked}"
            if self.late
            else f"{asked}; refused, for {self.cause}"
        )

    def _topic(self) -> str:
        return f"refused to {self.by}: {self.what}: {self.cause}"


class Noted(Event, frozen=True, kw_only=True):
    """Anything else that the log says."""

    burst = 3
    what: str
    matters: Level = Level.INFO

    def _level(self) -> Level:
        return self.matters

    def _text(self) -> str:
        return self.what

    def _topic(self) -> str:
        return self.what


class Repeated(Event, frozen=True, kw_only=True):
    """What was said before went on, and is over: how often it came, and for how long."""

    of: str
    """Its kind."""
    what: str
    """Its line, as it was said."""
    count: int
    """How often it came that was not said."""
    seconds: float
    matters: Level = Level.INFO

    def _level(self) -> Level:
        return self.matters

    def _text(self) -> str:
        return f"{amount(self.count, 'time')} more in {self.seconds:.0f} s: {self.what}"
