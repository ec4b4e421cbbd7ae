"""Reading one TOML table by its declaration: each fault is noted with its line, all goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from clusterip.core.config.declaring import Key
from clusterip.core.config.faults import Fault
from clusterip.core.config.lines import Path
from clusterip.core.config.values import BadValueError, kind
from clusterip.core.words import like, nearest

_Some = TypeVar("_Some", bound="Table")


class Notes:
    """The faults found so far, and where things are."""

    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines
        self.faults: list[Fault] = []

    def line(self, path: Path) -> int:
        """Return the line of a path; where nothing is, that of what would hold it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def add(self, path: Path, message: str, cure: str) -> None:
        """Note a fault of what is, or should be, at `path`."""
        self.faults.append(Fault(self.line(path), message, cure))


class Table:
    """One table, read: its keys are its attributes, and have their defaults where they must.

    Its class declares them. `at` is its place in the document. `instead` are readers in place of
    those declared, for keys whose bounds another table tells.
    """

    title: ClassVar[str]
    """Its name in the file, with that of the table it is in; arrays are named like tables."""
    keys: ClassVar[tuple[Key[Any], ...]] = ()

    def __init_subclass__(cls, title: str) -> None:
        cls.title = title
        cls.keys = (*cls.keys, *(one for one in vars(cls).values() if isinstance(one, Key)))

    def __init__(
        self,
        at: Path,
        content: Mapping[str, object],
        notes: Notes,
        **instead: Callable[[object], object],
    ) -> None:
        self.at = at
        self.notes = notes
        self.said: dict[str, Any] = {}
        self._content = content
        self._misspelt: dict[str | None, str] = {}
        self._at_fault: set[str] = set()
        for name in content:
            if name not in self.names():
                self._misspelt[like(name, self.names())] = name
                # A key may hold anything; repr() keeps it on one line and away from the terminal.
                self.blame(name, f"unknown key {name!r} in {self.place()}", self.cure(name))
        for key in self.keys:
            self.said[key.name] = self._take(key, instead.get(key.name, key.read))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of its keys."""
        return tuple(key.name for key in cls.keys)

    @classmethod
    def place(cls) -> str:
        """How the file says it: [cluster], [[vip]], or the top level."""
        if not cls.title:
            return "the file"
        return f"[{cls.title}]" if cls.title == "cluster" else f"[[{cls.title}]]"

    @classmethod
    def cure(cls, key: str) -> str:
        """Say what to do about an unknown key."""
        return nearest(key, cls.names())

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def means(self, key: str) -> bool:
        """Tell whether the key is there, be it misspelt, which is one fault and not two."""
        return key in self or key in self._misspelt

    def is_at_fault(self, key: str) -> bool:
        """Tell whether the key is there with a value that will not do."""
        return key in self._at_fault

    def get(self, key: str, default: object) -> object:
        """Return a key's value as TOML has it; that of a misspelt one if it is of that kind."""
        value = self._content.get(self._written(key), default)
        return value if key in self or isinstance(value, type(default)) else default

    def _written(self, key: str) -> str:
        return key if key in self else self._misspelt.get(key, key)

    def blame(self, key: str, message: str, cure: str) -> None:
        """Note a fault of a key."""
        self.notes.add((*self.at, key), message, cure)

    def _take(self, key: Key[Any], read: Callable[[object], object]) -> object:
        """Return what `read` makes of the key; its default if it is missing or at fault."""
        if key.of and self.said["type"] not in key.of:
            self._refuse_type(key)
            return key.default
        if key.example and not self.means(key.name):
            message = f"{self.place()} has no {key.name}"
            self.blame(key.name, message, f"add {key.name} = {key.example}")
        if key.name not in self:
            return key.default
        try:
            return read(self._content[key.name])
        except BadValueError as error:
            self._at_fault.add(key.name)
            self.blame(key.name, f"{key.name}: {error.message}", error.cure)
            return key.default

    def _refuse_type(self, key: Key[Any]) -> None:
        """Note that only another type has the key, where one is said."""
        own = self.said["type"]
        if own is not None and key.name in self:
            known = ", ".join(sorted(one.name for one in self.keys if own in one.of))
            self.blame(
                key.name,
                f"{key.name} is not for a {self.title} of type {own}",
                f"it takes {known}",
            )

    def tables(self, kind_: type[_Some], **instead: Callable[[object], object]) -> Iterator[_Some]:
        """Yield the tables of an array of tables; none, and a fault noted, if it is not one."""
        key = kind_.title.rpartition(".")[2]
        value = self.get(key, [])
        cure = f"write {kind_.place()}, once for each"
        if not isinstance(value, list):
            self.blame(key, f"{key} must be an array of tables, not {kind(value)}", cure)
            return
        for index, one in enumerate(value):
            at = (*self.at, self._written(key), index)
            if isinstance(one, dict):
                yield kind_(at, one, self.notes, **instead)
            else:
                self.notes.add(at, f"{key} must hold tables, not {kind(one)}", cure)

    def table(self, kind_: type[_Some]) -> _Some:
        """Return the table of that name, an empty one if it is missing or is something else.

        Where it is missing, keys of it that are here were meant for it, which is one fault each.
        """
        key = kind_.title
        value = self.get(key, {})
        if not self.means(key):
            value = {one: said for one, said in self._content.items() if one in kind_.names()}
        if not isinstance(value, dict):
            self.blame(key, f"{key} must be a table, not {kind(value)}", f"write [{key}], once")
            value = {}
        return kind_((*self.at, self._written(key)), value, self.notes)
