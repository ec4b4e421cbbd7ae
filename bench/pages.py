"""The figures of docs/performance.md, which are those of bench/results.json and no others.

A table stands between two comments, `<!-- bench: NAME -->` and `<!-- bench: end -->`. Each run of
the benchmark of that name writes it anew; so does `python -m bench.pages` for all of them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE: Final = Path(__file__).with_name("results.json")
PAGE: Final = Path(__file__).parent.parent / "docs" / "performance.md"
PLACE: Final = re.compile(r"(<!-- bench: (?!end)(\w+) -->\n).*?(<!-- bench: end -->)", re.DOTALL)
_MET: Final = {True: "yes", False: "no", None: ""}


def write() -> None:
    """Put into the page what the file of results has."""
    PAGE.write_text(filled(PAGE.read_text(), json.loads(FILE.read_text())["benchmarks"]))


def filled(page: str, benchmarks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a page with each place filled by what its benchmark found."""

    def fill(place: re.Match[str]) -> str:
        section = benchmarks.get(place[2])
        found = (
            tables(section) if section else f"Not measured yet: `make bench BENCH={place[2]}`.\n"
        )
        return place[1] + found + place[3]

    return PLACE.sub(fill, page)


def tables(section: Mapping[str, Any]) -> str:
    """Return the tables of one benchmark, as Markdown."""
    machine = section["machine"]
    day = machine["date"].partition("T")[0]
    where = f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}"
    lines = [f"{day}, `RUNS={section['runs']}`: {where}", ""]
    rows = section["ratios"]
    if rows and "base" in rows[0]:
        lines += _table(
            ("measure", "of", "to", "ratio", "lowest", "highest", "aim", "met"),
            (
                (
                    *(row[key] for key in ("measure", "subject", "base")),
                    *(f"{row[key]:.2f}" for key in ("ratio", "lowest", "highest")),
                    *(row["aim"], _MET[row["met"]]),
                )
                for row in rows
            ),
        )
        return "\n".join([*lines, ""])
    lines += _table(
        ("measure", "of", "median", "worst", "values", "unit"),
        (
            (
                *(one[key] for key in ("measure", "subject")),
                *(_number(one[key]) for key in ("median", "worst")),
                *(len(one["values"]), one["unit"]),
            )
            for one in section["results"]
        ),
    )
    if rows:
        lines += [
            "",
            *_table(
                ("measure", "of", "to", "median", "worst"),
                (
                    [str(row[key] or "") for key in ("measure", "peer", "ours", "median", "worst")]
                    for row in rows
                ),
            ),
        ]
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [
        "| " + " | ".join(map(str, row)) + " |"
        for row in (headings, ["---"] * len(headings), *rows)
    ]


if __name__ == "__main__":
    write()
