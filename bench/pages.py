"""The figures of docs/performance.md and README.md, which are those of bench/results.json.

A table stands between two comments, `<!-- bench: NAME -->` and `<!-- bench: end -->`; one figure of
README.md between `<!-- figure: NAME -->` and `<!-- / -->`. Each run of the benchmark of that name
writes it anew; so does `python -m bench.pages` for all of them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FILE: Final = Path(__file__).with_name("results.json")
PAGE: Final = Path(__file__).parent.parent / "docs" / "performance.md"
PLACE: Final = re.compile(r"(<!-- bench: (?!end)(\w+) -->\n).*?(<!-- bench: end -->)", re.DOTALL)
README: Final = PAGE.parent.parent / "README.md"
SPOT: Final = re.compile(r"(<!-- figure: ([\w-]+) -->).*?(<!-- / -->)")
NOT_MEASURED: Final = "not measured"


class Figure(NamedTuple):
    """What README.md tells of one result: its median or its worst value, in words."""

    benchmark: str
    measure: str
    subject: str
    words: str
    worst: bool = False


_GONE: Final = "host gone (link down)"
_BROKEN: Final = "open connections broken"
_RATE: Final = "million frames/s"
FIGURES: Final = {
    "death-clusterip": Figure("failover", _GONE, "clusterip default", "{} s at worst", worst=True),
    "death-keepalived": Figure("failover", _GONE, "keepalived", "{} s at worst", worst=True),
    "move-clusterip": Figure("moves", _BROKEN, "clusterip", "{} broken", worst=True),
    "move-nft": Figure("moves", _BROKEN, "nft jhash", "{} broken", worst=True),
    "discard-clusterip": Figure("discard", "rate", "clusterip xdp", "{} " + _RATE),
    "discard-nft": Figure("discard", "rate", "nft jhash", "{} " + _RATE),
}
"""By the name of their places."""
_MET: Final = {True: "yes", False: "no", None: ""}


def write() -> None:
    """Put into the page what the file of results has."""
    benchmarks = json.loads(FILE.read_text())["benchmarks"]
    PAGE.write_text(filled(PAGE.read_text(), benchmarks))
    README.write_text(told(README.read_text(), benchmarks))


def told(page: str, benchmarks: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a page with the place of each figure filled; KeyError for one of no such name."""
    return SPOT.sub(
        lambda place: f"{place[1]}{_words(FIGURES[place[2]], benchmarks)}{place[3]}", page
    )


def _words(figure: Figure, benchmarks: Mapping[str, Mapping[str, Any]]) -> str:
    for one in benchmarks.get(figure.benchmark, {}).get("results", ()):
        if (one["measure"], one["subject"]) == (figure.measure, figure.subject):
            return figure.words.format(_number(one["worst" if figure.worst else "median"]))
    return NOT_MEASURED


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
    results = section["results"]
    aims = any("at_most" in one for one in results)
    lines += _table(
        ("measure", "of", "median", "worst", "values", "unit", *(("aim", "met") if aims else ())),
        (
            (
                *(one[key] for key in ("measure", "subject")),
                *(_number(one[key]) for key in ("median", "worst")),
                *(len(one["values"]), one["unit"]),
                *(_aim(one) if aims else ()),
            )
            for one in results
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


def _aim(one: Mapping[str, Any]) -> tuple[str, str]:
    most = one.get("at_most")
    return ("", "") if most is None else (f"<= {most:g}", _MET[one["median"] <= most])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [
        "| " + " | ".join(map(str, row)) + " |"
        for row in (headings, ["---"] * len(headings), *rows)
    ]


if __name__ == "__main__":
    write()
