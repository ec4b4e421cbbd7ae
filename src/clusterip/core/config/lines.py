"""On which line of a TOML document each key stands.

tomllib gives values without places, and a message about a value needs its place. The document
was accepted by tomllib before it comes here, so the scan below may trust it: it need not
refuse anything, only find where keys, values and tables begin.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

Path = tuple[str | int, ...]
"""The way to a value: keys, and places in arrays from 0; () is the document."""

_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r""""(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+""")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR: Final = re.compile(
    r"""
    \"\"\" (?: [^\\] | \\. )*? \"\"\" "{0,2}   # up to two quotes may stand before the last three
    | ''' .*? ''' '{0,2}
    | " (?: [^"\\\n] | \\. )* "
    | ' [^'\n]* '
    | [^\s,\]\}\#] (?: [^,\]\}\#\n]* [^\s,\]\}\#] )?   # numbers, words, dates with a blank inside
    """,
    re.VERBOSE | re.DOTALL,
)


def locate(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every key, table and array element of a valid document.

    A key's line is that on which its name begins; an array element's that of its value; a table's
    that of its header, or of the first key that implies it. Raises RecursionError where tomllib
    does: for arrays nested too deeply.
    """
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {(): 1}
        self._starts = [match.end() for match in re.finditer("\n", text)]
        self._elements: dict[Path, int] = {}  # arrays of tables: how many there are so far

    def document(self) -> None:
        here: Path = ()
        while self._pass(_GAP) < len(self.text):
            if self.text.startswith("[[", self.at):
                here = self._element()
            elif self.text[self.at] == "[":
                here = self._table()
            else:
                self._pair(here)

    def _pass(self, pattern: re.Pattern[str]) -> int:
        """Step over what the pattern matches here, if anything; return the place after it."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _line(self) -> int:
        return bisect_right(self._starts, self.at) + 1

    def _mark(self, path: Path, line: int) -> None:
        """Note the line of a path, and of the tables on the way that nothing named before."""
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            start = self.at
            raw = self.text[start : self._pass(_KEY)]
            # Escapes are tomllib's business.
            keys.append(tomllib.loads(f"k={raw}")["k"] if raw[0] in "\"'" else raw)
            start = self.at
            if self._pass(_DOT) == start:
                return keys

    def _resolve(self, keys: list[str]) -> Path:
        """Return the path of keys in a header: an array of tables means its last element."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._elements:
                path = (*path, self._elements[path] - 1)
        return path

    def _header(self, brackets: int) -> tuple[list[str], int]:
        line = self._line()
        self.at += brackets
        self._pass(_BLANKS)
        keys = self._keys()
        self._pass(_BLANKS)
        self.at += brackets
        return keys, line

    def _table(self) -> Path:
        keys, line = self._header(1)
        path = self._resolve(keys)
        self._mark(path, line)
        return path

    def _element(self) -> Path:
        keys, line = self._header(2)
        array: Path = (*self._resolve(keys[:-1]), keys[-1])
        place = self._elements.get(array, 0)
        self._elements[array] = place + 1
        if not place:
            self._mark(array, line)
        self._mark((*array, place), line)
        return (*array, place)

    def _pair(self, table: Path) -> None:
        line = self._line()
        path: Path = (*table, *self._keys())
        self._mark(path, line)
        self._pass(_BLANKS)
        self.at += 1  # the equals sign
        self._pass(_BLANKS)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self.text[self.at]
        if opening not in "[{":
            self._pass(_SCALAR)
            return
        self.at += 1
        place = 0
        while self.text[self._pass(_GAP)] not in "]}":
            if self.text[self.at] == ",":
                self.at += 1
            elif opening == "{":
                self._pair(path)
            else:
                self._mark((*path, place), self._line())
                self._value((*path, place))
                place += 1
        self.at += 1
