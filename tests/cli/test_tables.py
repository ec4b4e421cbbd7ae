"""Tables and lists at some width: whole, broken between words, or a list."""

from __future__ import annotations

import sys

import pytest

from clusterip.cli import output, tables

HEADINGS = ("  VIP", "held", "cluster MAC")
ROWS = (
    ("  2001:db8:a:b::1", ("1-3", output.BAD), "01:00:5e:00:00:20"),
    ("  10.9.0.100", output.text("7, ", ("8", output.BAD)), "01:00:5e:00:00:21"),
)
WIDE = """\
  VIP              held  cluster MAC
  2001:db8:a:b::1  1-3   01:00:5e:00:00:20
  10.9.0.100       7, 8  01:00:5e:00:00:21
"""
NARROW = """\
  2001:db8:a:b::1
    held: 1-3
    cluster MAC: 01:00:5e:00:00:20
  10.9.0.100
    held: 7, 8
    cluster MAC: 01:00:5e:00:00:21
"""


@pytest.mark.parametrize(
    ("columns", "shown"), [(None, WIDE), (80, WIDE), (42, WIDE), (41, NARROW), (40, NARROW)]
)
def test_a_table_or_a_list(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int | None,
    shown: str,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    tables.table(HEADINGS, ROWS)
    assert capsys.readouterr().out == shown


def test_a_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table(HEADINGS, ())
    assert capsys.readouterr().out == "  VIP  held  cluster MAC\n"


SPANS = "1,3,5,7-9,11-13,15,17,19,21-40"
MANY = """\
  node  held      votes for
  web1  1,3,5,    web1:40
        7-9,      web2:40
        11-13,    web3:40
        15,17,
        19,21-40
"""
LISTED = """\
  web1
    held: 1,3,5,7-9,
      11-13,15,17,19,
      21-40
    votes for: web1:40
      web2:40 web3:40
"""


NARROW_LINE = """\
  held
    here:
    1,3,5,
    7-9,
    11-13,
    15,17,
    19,
    21-40;
    lease
    0.5 s
"""


@pytest.mark.parametrize(("columns", "shown"), [(27, MANY), (22, LISTED)])
def test_what_is_wide_is_broken_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, shown: str
) -> None:
    terminal(monkeypatch, columns)
    tables.table(("  node", "held", "votes for"), [("  web1", SPANS, "web1:40 web2:40 web3:40")])
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (None, f"  held here: {SPANS}; lease 0.5 s\n"),
        (30, "  held here: 1,3,5,7-9,11-13,\n    15,17,19,21-40; lease 0.5\n    s\n"),
        (10, NARROW_LINE),
    ],
)
def test_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int | None,
    shown: str,
) -> None:
    if columns:
        terminal(monkeypatch, columns)
    tables.wrapped(f"  held here: {SPANS}; lease 0.5 s")
    assert capsys.readouterr().out == shown


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_a_sentence_is_broken_between_words_and_never_within_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    words = "copy the file, then `clusterip reload --cluster web` there, and more, and more"
    tables.sentence("  cure: ", words, indent="        ")
    assert capsys.readouterr().out == f"  cure: {words}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    tables.sentence("  cure: ", words, indent="        ")
    assert (
        capsys.readouterr().out
        == """\
  cure: copy the file, then
        `clusterip reload --cluster web`
        there, and more, and more
"""
    )


def test_an_error_goes_by_the_width_of_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    output.say("clusterip:", output.BAD, "word " * 20, "cure " * 20)
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 40
    assert [one.split()[0].strip(":") for one in lines] == [
        "clusterip",
        *2 * ["word"],
        *4 * ["cure"],
    ]
