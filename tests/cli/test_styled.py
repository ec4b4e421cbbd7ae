"""Text with styles, put together, cut and measured: as rich does it."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text as Drawn

from clusterip.cli.styled import Text


def text(*pieces: tuple[str, str]) -> Text:
    return Text(pieces)


def test_pieces_and_what_they_are_together() -> None:
    whole = text(("a", ""), ("", "bold"), ("b ", "red")).append("c").append("", "bold")
    assert whole.pieces == [("a", ""), ("b ", "red"), ("c", "")]
    assert (whole.plain, whole.is_styled, whole.cell_len) == ("ab c", True, 4)
    assert not text(("a", "")).is_styled
    assert Text().plain == ""


@pytest.mark.parametrize("at", [[], [0], [1], [2], [1, 3], [2, 2], [3, 4]])
def test_cut_as_rich_does(at: list[int]) -> None:
    pieces = ("ab", ""), ("cd", "red")
    ours = text(*pieces).divide(at)
    theirs = Drawn.assemble(*pieces).divide(at)
    assert [one.plain for one in ours] == [one.plain for one in theirs]
    assert "".join(one.plain for one in ours) == "abcd"
    styled = [words for one in ours for words, style in one.pieces if style]
    assert "".join(styled) == "cd"


def test_blanks_at_the_end() -> None:
    whole = text(("a ", "red"), ("  ", ""))
    whole.rstrip()
    assert whole.pieces == [("a", "red")]


def test_texts_between_others() -> None:
    comma = text((", ", ""))
    assert comma.join([text(("a", "red")), text(("b", ""))]).plain == "a, b"
    assert comma.join([]).plain == ""
    assert comma.plain == ", "


@pytest.mark.parametrize("words", ["plain", "wide 漢字", "e\u0301", "\U0001f600"])
def test_columns(words: str) -> None:
    assert text((words, "")).cell_len == cell_len(words)
