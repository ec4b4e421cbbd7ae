"""Whether this node is healthy: what its checks found, and how often in a row.

One bad result is no reason to move buckets, and one good result none to bring them back: a check
turns bad after `fall` bad results in a row, and good after `rise` good ones. Only its first result
decides at once, for before it nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from clusterip.core.config.model import CommandCheck, HttpCheck, TcpCheck

AnyCheck = TcpCheck | HttpCheck | CommandCheck


class Report(msgspec.Struct, frozen=True):
    """How a check stands: `good` is None before its first result.

    `latest` is what the newest result was, which `good` may not follow yet; `in_a_row` counts the
    results like it since one was different. `detail` is the newest result's, in one line.
    """

    name: str
    good: bool | None
    latest: bool | None
    in_a_row: int
    detail: str


class _Kept(msgspec.Struct):
    """The standing of one check, as it is handed over. `check` says which check that was."""

    check: str
    good: bool
    latest: bool
    in_a_row: int
    detail: str


class _Document(msgspec.Struct):
    healthy: bool
    checks: dict[str, _Kept]


class _Entry:
    """One check and its standing. If `trusted`, it passes for good until its first result."""

    def __init__(self, check: AnyCheck, *, trusted: bool = False) -> None:
        self.check = check
        self.trusted = trusted
        self.good: bool | None = None
        self.latest: bool | None = None
        self.in_a_row = 0
        self.detail = ""

    @property
    def passes(self) -> bool:
        return self.trusted if self.good is None else self.good

    def result(self, good: bool, detail: str) -> bool:
        """Count a result; say whether it is the first, and bad."""
        is_first = self.good is None
        self.in_a_row = self.in_a_row + 1 if good is self.latest else 1
        self.latest = good
        self.detail = detail
        needed = self.check.rise if good else self.check.fall
        if is_first or self.in_a_row >= needed:
            self.good = good
        return is_first and not good


class Health:
    """The checks of this node, and what their results make of it."""

    def __init__(self, checks: Iterable[AnyCheck]) -> None:
        self._entries = {check.name: _Entry(check) for check in checks}

    @property
    def healthy(self) -> bool:
        """Whether every check is good; without checks, always."""
        return all(entry.passes for entry in self._entries.values())

    def result(self, name: str, good: bool, detail: str) -> bool:
        """Count a result; say whether it is the first of its check, and bad.

        One of a check that is not there any more changes nothing.
        """
        entry = self._entries.get(name)
        return entry is not None and entry.result(good, detail)

    def reports(self) -> tuple[Report, ...]:
        """Return how each check stands, in the order of the configuration."""
        return tuple(
            Report(name, entry.good, entry.latest, entry.in_a_row, entry.detail)
            for name, entry in self._entries.items()
        )

    def changed(self, checks: Iterable[AnyCheck]) -> None:
        """Go by these checks from now on; one that did not change keeps its standing.

        In a healthy node a check that is new or changed passes for good until its first result,
        so that a reload moves no bucket for want of one.
        """
        old, trusted = self._entries, self.healthy
        self._entries = {}
        for check in checks:
            entry = old.get(check.name)
            same = entry is not None and entry.check == check
            self._entries[check.name] = (
                entry if entry is not None and same else _Entry(check, trusted=trusted)
            )

    def standing(self) -> dict[str, Any]:
        """Return what a successor needs, in a form that JSON has."""
        kept = {
            name: _Kept(repr(entry.check), entry.good, entry.latest, entry.in_a_row, entry.detail)
            for name, entry in self._entries.items()
            if entry.good is not None and entry.latest is not None
        }
        document: dict[str, Any] = msgspec.to_builtins(_Document(self.healthy, kept))
        return document

    def restore(self, document: dict[str, Any]) -> None:
        """Take up the standing of a predecessor; what is not one changes nothing.

        Where the predecessor was healthy, a check that it did not have, or had another way, passes
        for good until its first result.
        """
        try:
            before = msgspec.convert(document, _Document)
        except msgspec.ValidationError:
            return
        for name, entry in self._entries.items():
            kept = before.checks.get(name)
            if kept is not None and kept.check == repr(entry.check):
                entry.good, entry.latest = kept.good, kept.latest
                entry.in_a_row, entry.detail = kept.in_a_row, kept.detail
            else:
                entry.trusted = before.healthy
