"""Taking the keys of one TOML table: every fault is noted with its line, and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from clusterip.core.config.faults import Fault
from clusterip.core.config.lines import Path
from clusterip.core.config.values import BadValueError, kind
from clusterip.core.words import like, nearest

T = TypeVar("T")

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "": ("cluster", "vip", "node", "check"),
    "cluster": (
        "name",
        "key_file",
        "interface",
        "port",
        "profile",
        "quorum",
        "stop",
        "drain_timeout",
        "udp_watch",
        "udp_keep",
        "announce_count",
        "announce_interval",
        "buckets",
        "hash_init",
        "source_prefix6",
        "mac",
        "status_group",
    ),
    "vip": ("address", "hashmode", "mac", "service"),
    "vip.service": ("protocol", "ports", "action", "bucket", "hashmode"),
    "node": ("name", "address", "weight", "interface", "witness"),
    "check": (
        "type",
        "name",
        "interval",
        "timeout",
        "rise",
        "fall",
        "address",
        "port",
        "host",
        "path",
        "status",
        "body",
        "command",
    ),
}
"""Every key there is, by table; arrays of tables are named like tables."""


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
    """One table. `title` is a key of KEYS, `path` its place in the document."""

    def __init__(self, title: str, path: Path, content: Mapping[str, object], notes: Notes) -> None:
        self.title = title
        self.path = path
        self.notes = notes
        self._content = content
        self._misspelt: dict[str | None, str] = {}
        for key in content:
            if key not in KEYS[title]:
                self._misspelt[like(key, KEYS[title])] = key
                # A key may hold anything; repr() keeps it on one line and away from the terminal.
                cure = nearest(key, KEYS[title])
                if not title and key in KEYS["cluster"]:
                    cure = "write [cluster] above it"
                self.blame(key, f"unknown key {key!r} in {self.place}", cure)

    @property
    def place(self) -> str:
        """How the file says it: [cluster], [[vip]], or the top level."""
        if not self.title:
            return "the file"
        return f"[{self.title}]" if self.title == "cluster" else f"[[{self.title}]]"

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def means(self, key: str) -> bool:
        """Tell whether the key is there, be it misspelt, which is one fault and not two."""
        return key in self or key in self._misspelt

    def get(self, key: str, default: object) -> object:
        """Return a key's value as TOML has it; that of a misspelt one if it is of that kind."""
        value = self._content.get(self._written(key), default)
        return value if key in self or isinstance(value, type(default)) else default

    def _written(self, key: str) -> str:
        return key if key in self else self._misspelt.get(key, key)

    def blame(self, key: str, message: str, cure: str) -> None:
        """Note a fault of a key."""
        self.notes.add((*self.path, key), message, cure)

    def take(self, key: str, read: Callable[[object], T]) -> T | None:
        """Return what `read` makes of the key; None if it is missing or was found at fault."""
        if key not in self._content:
            return None
        try:
            return read(self._content[key])
        except BadValueError as error:
            self.blame(key, f"{key}: {error.message}", error.cure)
            return None

    def take_or(self, key: str, read: Callable[[object], T], default: T) -> T:
        """Return what `read` makes of the key, else the default."""
        value = self.take(key, read)
        return default if value is None else value

    def require(self, key: str, read: Callable[[object], T], example: str) -> T | None:
        """Return what `read` makes of the key; None, and a fault noted, if there is no such."""
        if not self.means(key):
            self.blame(key, f"{self.place} has no {key}", f"add {key} = {example}")
        return self.take(key, read)

    def tables(self, key: str) -> Iterator[Table]:
        """Yield the tables of an array of tables; none, and a fault noted, if it is not one."""
        value = self.get(key, [])
        title = f"{self.title}.{key}" if self.title else key
        cure = f"write [[{title}]], once for each"
        if not isinstance(value, list):
            self.blame(key, f"{key} must be an array of tables, not {kind(value)}", cure)
            return
        for place, one in enumerate(value):
            path = (*self.path, self._written(key), place)
            if isinstance(one, dict):
                yield Table(title, path, one, self.notes)
            else:
                self.notes.add(path, f"{key} must hold tables, not {kind(one)}", cure)

    def table(self, key: str) -> Table:
        """Return the table of that name, an empty one if it is missing or is something else.

        Where it is missing, keys of it that are here were meant for it, which is one fault each.
        """
        value = self.get(key, {})
        if not self.means(key):
            value = {one: said for one, said in self._content.items() if one in KEYS[key]}
        if not isinstance(value, dict):
            self.blame(key, f"{key} must be a table, not {kind(value)}", f"write [{key}], once")
            value = {}
        return Table(key, (*self.path, self._written(key)), value, self.notes)
