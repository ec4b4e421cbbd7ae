"""What is declared of a key of the configuration file: all that is said of it anywhere.

Reading, reloading, the digest and docs/configuration.md go by the declarations in `declared`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar, overload

import msgspec

T = TypeVar("T")


class Effect(Enum):
    """What it takes for a change to come into force, the least first."""

    IN_PLACE = "in place"
    VOTER = "one node"
    RESTART = "restart"
    TOGETHER = "all hosts together"
    REFUSED = "refused"


class Takes(msgspec.Struct, frozen=True):
    """What a reload of a key takes, and why, in a sentence; empty where it takes nothing."""

    effect: Effect
    why: str = ""


IN_PLACE: Final = Takes(Effect.IN_PLACE)
ONE_NODE: Final = Takes(Effect.VOTER, "add or remove no other node before every host has this file")
RESTART: Final = Takes(
    Effect.RESTART,
    "stop and start the daemon on that host; its buckets move to the others meanwhile",
)
DEAF: Final = Takes(
    Effect.TOGETHER, "hosts with the old one and with the new one do not hear each other"
)
UNEQUAL: Final = Takes(
    Effect.TOGETHER, "hosts with the old and with the new file never serve together"
)
"""These keys are what the digest in the messages is made of: hosts must agree on them."""


def _as_text(value: object) -> str:
    """Return a value as the file would say it, without quotation marks."""
    if isinstance(value, tuple):
        return ", ".join(map(_as_text, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


class Reader(msgspec.Struct, Generic[T], frozen=True):
    """A reader that says more: the text of a value, and of the bounds that values have."""

    read: Callable[[object], T]
    text: Callable[[Any], str] = _as_text
    low: str = ""
    high: str = ""

    def __call__(self, value: object) -> T:
        """Read a value."""
        return self.read(value)


def untouched(value: object) -> object:
    """Read nothing: for tables, which `table.Table` reads."""
    return value


class _Said(Protocol):
    """A table that was read."""

    said: dict[str, Any]


@dataclass(frozen=True)
class Key(Generic[T]):
    """A key, as an attribute of the class of its table; of a table that was read, its value.

    `default` is what the table has where the file does not say it, or says it wrongly.
    `absent` says in docs/configuration.md what holds where it is left out, if that is no value.
    `example` is a value to show where it is missing and must not be; empty where it may be.
    `of` are the types of a check that have the key, () for all.
    `field` is what `core.config.model` calls it, if it is another word.
    `counts` says whether it means anything in a file; a change of what does not is in place.
    """

    read: Callable[[object], T]
    default: T
    takes: Takes
    absent: str = ""
    example: str = ""
    of: tuple[str, ...] = ()
    field: str = ""
    counts: Callable[[Any], bool] = lambda _config: True
    sentence: str = ""
    name: str = ""

    def says(self, sentence: str) -> Key[T]:
        """Return it with its sentence in docs/configuration.md.

        There {range} stands for the bounds of the reader, {low} and {high} for each of them.
        """
        return replace(self, sentence=sentence)

    def __set_name__(self, table: type, name: str) -> None:
        object.__setattr__(self, "name", name)  # once, as the class is made

    @overload
    def __get__(self, table: None, kind: type) -> Key[T]: ...
    @overload
    def __get__(self, table: _Said, kind: type) -> T: ...
    def __get__(self, table: _Said | None, kind: type) -> Key[T] | T:
        if table is None:
            return self
        value: T = table.said[self.name]
        return value

    def text(self, value: object) -> str:
        """Return a value as the file would say it, without quotation marks; of None nothing."""
        if value is None:
            return ""
        write = self.read.text if isinstance(self.read, Reader) else _as_text
        return write(value)

    def told(self, model: object) -> str:
        """Return the text of the key's value in what was made of its table; empty if it has none.

        What only stands in for keys of other tables shows in what was made of those.
        """
        return self.text(getattr(model, self.field or self.name, None))
