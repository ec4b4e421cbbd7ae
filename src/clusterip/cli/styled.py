"""Text with styles, put together from parts. Nothing in it is interpreted.

A library that draws is only needed to print it on a terminal (`output`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self, TypeAlias

Piece: TypeAlias = tuple[str, str]
"""Characters in one style, "" for none."""


class Text:
    """Characters, some of them in a style."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces = [one for one in pieces if one[0]]

    @property
    def plain(self) -> str:
        """The characters."""
        return "".join(words for words, _ in self.pieces)

    @property
    def is_styled(self) -> bool:
        """Whether any of it has a style."""
        return any(style for _, style in self.pieces)

    @property
    def cell_len(self) -> int:
        """How many columns of a terminal it takes."""
        plain = self.plain
        if plain.isascii():
            return len(plain)
        from rich.cells import cell_len  # noqa: PLC0415 - most text needs no such table

        return cell_len(plain)

    def append(self, words: str, style: str = "") -> Self:
        """Add characters at the end."""
        if words:
            self.pieces.append((words, style))
        return self

    def append_text(self, other: Text) -> Self:
        """Add another text at the end."""
        self.pieces += other.pieces
        return self

    def join(self, some: Iterable[Text]) -> Text:
        """Return texts one after the other, with this one between them."""
        whole = Text()
        for number, one in enumerate(some):
            whole.append_text(self if number else Text()).append_text(one)
        return whole

    def divide(self, at: Sequence[int]) -> list[Text]:
        """Return it cut at these places, ascending; empty parts among them."""
        ends = [*at, len(self.plain)]
        parts, begin = [], 0
        for end in ends:
            parts.append(self._part(begin, end))
            begin = end
        return parts

    def rstrip(self) -> None:
        """Take blanks away from the end."""
        self.pieces = self._part(0, len(self.plain.rstrip())).pieces

    def _part(self, begin: int, end: int) -> Text:
        found: list[Piece] = []
        at = 0
        for words, style in self.pieces:
            found.append((words[max(begin - at, 0) : max(end - at, 0)], style))
            at += len(words)
        return Text(found)
