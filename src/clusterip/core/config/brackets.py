"""Which header of a file is wrong where TOML says of a later one that it is there twice.

`[node]` is one table, and makes every `[[node]]` after it wrong; so does a `[[vip.service]]` that
no `[[vip]]` is above. TOML knows no better than to blame the later one, which is right.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from clusterip.core.config.declared import KEYS
from clusterip.core.config.faults import Fault
from clusterip.core.words import nearest

_HEADER: Final = re.compile(r"[ \t]*(\[\[?)[ \t]*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)[ \t]*\]")
_ARRAYS: Final = tuple(name for name in KEYS if name not in {"", "cluster"})
_ARRAYS_WORDS: Final = ", ".join(f"[[{name}]]" for name in _ARRAYS)


class _Header(NamedTuple):
    line: int
    brackets: str
    name: str

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


def blamed(text: str, line: int) -> Fault:
    """Return the fault of a text in which TOML finds a key or table twice, in that line."""
    headers = [
        _Header(number, *match.groups())
        for number, one in enumerate(text.split("\n")[:line], start=1)
        if (match := _HEADER.match(one))
    ]
    if headers and headers[-1].line == line and headers[-1].name in _ARRAYS:
        *before, last = headers
        fault = _of_header(before, last)
        if fault is not None:
            return fault
    return Fault(
        line,
        "a key or a table is there twice",
        f"keep one of them; only {_ARRAYS_WORDS} may be there several times",
    )


def _of_header(before: list[_Header], last: _Header) -> Fault | None:
    if last.brackets == "[":
        return _single(last)
    if last.name != last.top:
        # Each [[vip]] has its own.
        above = [at for at, one in enumerate(before) if one.name == last.top]
        before = before[above[-1] + 1 :] if above else before
    for one in before:
        if one.name == last.name and one.brackets == "[":
            return _single(one)
        if one.name == last.name:
            return None
        if one.name.startswith(f"{last.name}."):
            return _homeless(one, before, last.name)
    return None


def _single(one: _Header) -> Fault:
    cure = f"write [[{one.name}]], once for each"
    return Fault(one.line, f"[{one.name}] is to be [[{one.name}]]", cure)


def _homeless(one: _Header, before: list[_Header], name: str) -> Fault:
    """Return the fault of a header that stands where nothing it belongs to is above."""
    for other in before:
        if other.top not in KEYS and other.line < one.line:
            message = f"unknown table {other.name!r}"
            return Fault(other.line, message, nearest(other.name, KEYS[""]))
    return Fault(one.line, f"[[{one.name}]] has no [[{name}]] above it", f"write [[{name}]] first")
