"""Tables and lists that go into the width of a terminal: broken between words, and never cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from clusterip.cli import output
from clusterip.cli.styled import Text

_BREAKS: Final = re.compile(r"(?<=\S) +|,(?! )")
_BETWEEN_COMMANDS: Final = re.compile(r"(?<=\S) +(?=[^`]*(?:`[^`]*`[^`]*)*\Z)")
"""Blanks after which backticks come in pairs: those of a command that is quoted are left out."""


def wrapped(*parts: output.Part, indent: str = "    ") -> None:
    """Print parts as one line, or on a terminal that is too narrow as several, `indent` before.

    For lists of names and numbers: what may be copied, a command say, is for `line`.
    """
    for number, one in enumerate(_broken(output.text(*parts), output.width(), len(indent))):
        output.line(indent if number else "", one)


def sentence(*parts: output.Part, indent: str = "    ", err: bool = False) -> None:
    """Print parts as `wrapped` does, and keep what is between backticks, a command, on one line."""
    whole, room = output.text(*parts), output.width(err=err)
    for number, one in enumerate(_broken(whole, room, len(indent), _BETWEEN_COMMANDS)):
        output.line(indent if number else "", one, err=err)


def table(headings: Sequence[str], rows: Sequence[Sequence[output.Part]]) -> None:
    """Print rows below their headings.

    Where the terminal is too narrow, the widest columns are broken between words, and where that is
    not enough, each row becomes a list.
    """
    heads = [output.text((heading, output.STRONG)) for heading in headings]
    cells = [[output.text(cell) for cell in row] for row in rows]
    room = output.width()
    columns = list(zip(heads, *cells, strict=True))
    widths = _fitted(columns, room)
    if not widths:
        _list(headings, cells, room)
        return
    for row in (heads, *cells):
        pieces = [_of_cell(cell, width) for cell, width in zip(row, widths, strict=True)]
        for at in range(max(map(len, pieces))):
            whole = output.text()
            for some, width in zip(pieces, widths, strict=True):
                piece = some[at] if at < len(some) else output.text()
                whole.append_text(piece).append(" " * (width - piece.cell_len + 2))
            whole.rstrip()
            output.line(whole)


def _of_cell(cell: Text, width: int) -> list[Text]:
    indent = _indent(cell)
    first, *others = _broken(cell, width, indent)
    return [first, *(output.text(" " * indent, one) for one in others)]


def _list(headings: Sequence[str], rows: Sequence[Sequence[Text]], room: int) -> None:
    """Print each row as a list."""
    for row in rows:
        output.line(row[0])
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            whole = output.text(f"    {heading}: ", cell)
            for number, one in enumerate(_broken(whole, room, 6)):
                output.line("      " if number else "", one)


def _fitted(columns: Sequence[Sequence[Text]], room: int) -> list[int]:
    """Return how wide the columns are to be, none if they do not go into that room."""
    widths = [max(one.cell_len for one in column) for column in columns]
    least = [max(_longest_word(one) for one in column) for column in columns]
    room -= 2 * (len(columns) - 1)
    while sum(widths) > room:
        shrinking = [at for at, width in enumerate(widths) if width > least[at]]
        if not shrinking:
            return []
        widths[max(shrinking, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(cell: Text) -> int:
    indent = _indent(cell)
    first, *others = [_width(one) for one in _words(cell)] or [0]
    return max(first, *(indent + one for one in others), 0)


def _width(word: Text) -> int:
    """Return its width without the blanks after it."""
    return word.cell_len - len(word.plain) + len(word.plain.rstrip(" "))


def _indent(cell: Text) -> int:
    return len(cell.plain) - len(cell.plain.lstrip(" "))


def _words(whole: Text, breaks: re.Pattern[str] = _BREAKS) -> list[Text]:
    """Return what a text is put together from: it may be broken after a blank and after a comma."""
    at = [one.end() for one in breaks.finditer(whole.plain)]
    return [one for one in whole.divide(at) if one.plain]


def _broken(
    whole: Text, room: int, indent: int = 0, breaks: re.Pattern[str] = _BREAKS
) -> list[Text]:
    """Return a text as lines of that room, all but the first less `indent`; no word is broken."""
    if whole.cell_len <= room:
        return [whole]
    lines = [output.text()]
    for word in _words(whole, breaks):
        left = room - (indent if len(lines) > 1 else 0)
        if lines[-1].plain.strip() and lines[-1].cell_len + _width(word) > left:
            lines.append(output.text())
        lines[-1].append_text(word)
    for one in lines:
        one.rstrip()
    return lines
