"""What an event is, whatever happened."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from clusterip.core.units import SECOND


class Level(enum.Enum):
    """How much an event matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _kebab(name: str) -> str:
    return "".join(f"-{one.lower()}" if one.isupper() else one for one in name).lstrip("-")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=_kebab):
    """Something that happened. What its class says of itself stands in docs/events.md, too."""

    usual: ClassVar[Level] = Level.INFO
    """The level of its kind, where an event does not have its own."""
    burst: ClassVar[int] = 0
    """How many that are about the same are said, before the next are only counted; 0: all."""
    quiet: ClassVar[int] = 60 * SECOND
    """When none that is about the same came for that time, ns, how many there were is said."""

    lasts: ClassVar[bool] = False
    """Whether it says how something is from then on: the newest is always said."""

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return str(self.__struct_config__.tag)

    @property
    def level(self) -> Level:
        """How much it matters."""
        return self._level()

    @property
    def text(self) -> str:
        """What happened: a line for people."""
        return self._text()

    @property
    def topic(self) -> str:
        """What it is about: of the newest that are about the same, the last says how it is now."""
        return self._topic()

    def _level(self) -> Level:
        return self.usual

    def _text(self) -> str:
        raise NotImplementedError

    def _topic(self) -> str:
        return self.kind

    def __str__(self) -> str:
        return self.text
