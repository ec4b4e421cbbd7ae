"""Each measured figure is that of bench/results.json: in docs/performance.md, some in README.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench import pages
from bench.__main__ import BENCHMARKS
from bench.results import Comparison, Result, compared, machine, ratios

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OTHERS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))


_KEPT = ("benchmark", "measure", "subject", "unit", "values", "condition", "more")
_MAY_BE = "at_most"


def found() -> dict[str, dict[str, Any]]:
    benchmarks: dict[str, dict[str, Any]] = json.loads(pages.FILE.read_text())["benchmarks"]
    return benchmarks


def test_the_page_has_what_the_file_has() -> None:
    page = pages.PAGE.read_text()
    assert pages.filled(page, found()) == page


def test_the_readme_has_what_the_file_has() -> None:
    """`python -m bench.pages` fills the places; each figure that there is has one."""
    text = README.read_text()
    assert pages.told(text, found()) == text
    assert sorted(place[2] for place in pages.SPOT.finditer(text)) == sorted(pages.FIGURES)
    assert {one.benchmark for one in pages.FIGURES.values()} <= set(BENCHMARKS)


@pytest.mark.parametrize("name", pages.FIGURES)
def test_a_figure_that_was_measured_is_one_of_its_benchmark(name: str) -> None:
    figure = pages.FIGURES[name]
    measured = found().get(figure.benchmark)
    known = {(one["measure"], one["subject"]) for one in measured["results"]} if measured else set()
    assert measured is None or (figure.measure, figure.subject) in known


def test_a_figure_and_one_that_is_not_there() -> None:
    result = Result("discard", "rate", "clusterip xdp", "million frames/s", [5.5, 6.5], more=True)
    page = (
        "| <!-- figure: discard-clusterip -->old<!-- / --> | <!-- figure: move-nft --><!-- / --> |"
    )
    measured = {"discard": {"results": [result.as_json()]}}
    assert pages.told(page, measured) == (
        "| <!-- figure: discard-clusterip -->6 million frames/s<!-- / --> |"
        " <!-- figure: move-nft -->not measured<!-- / --> |"
    )


def test_each_benchmark_has_its_place_and_its_results() -> None:
    places = [place[2] for place in pages.PLACE.finditer(pages.PAGE.read_text())]
    assert sorted(places) == sorted(BENCHMARKS)
    assert set(found()) <= set(BENCHMARKS)


@pytest.mark.parametrize("name", found())
def test_the_ratios_of_the_file_are_those_of_its_values(name: str) -> None:
    section = found()[name]
    kept = [
        {key: one[key] for key in one if key in (*_KEPT, _MAY_BE)} for one in section["results"]
    ]
    results = [Result(**one) for one in kept]
    for one, told in zip(results, section["results"], strict=True):
        assert (told["median"], told["worst"]) == pytest.approx((one.median, one.worst), abs=1e-3)
    wanted = getattr(BENCHMARKS[name], "COMPARISONS", ())
    again = compared(results, wanted) if wanted else ratios(results)
    assert len(again) == len(section["ratios"])
    for row, told in zip(again, section["ratios"], strict=True):
        assert row.keys() == told.keys()
        for key, value in row.items():
            exact = not isinstance(value, float)
            assert told[key] == (value if exact else pytest.approx(value, rel=0.02, abs=0.02))


FIGURE = re.compile(r"\d[\d.,]* ?(ns|us|%|times as|of the rate)(?!\w)|\b0\.\d+\b|\b\d+\.\d+ times")
"""What only a measurement can tell: nanoseconds, shares, multiples of others."""


def test_no_figure_stands_outside_of_the_tables() -> None:
    rest = pages.PLACE.sub("", pages.PAGE.read_text())
    assert [match[0] for match in FIGURE.finditer(rest)] == []
    plain = pages.SPOT.sub("", README.read_text())
    compared_with = plain.partition("\n## Compared\n")[2].partition("\n## ")[0]
    assert [match[0] for match in FIGURE.finditer(compared_with)] == []
    assert "docs/performance.md" in compared_with


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.name)
def test_no_other_page_compares_in_figures(page: Path) -> None:
    text = page.read_text()
    if page == pages.PAGE:
        text = pages.PLACE.sub("", text)
    assert re.findall(r"\d[\d.]* times (?:as|the|faster|slower)", text) == []


def section(results: list[Result], wanted: tuple[Comparison, ...] = ()) -> dict[str, Any]:
    return {
        "machine": {**machine(), "date": "2026-11-29T12:00:00+00:00", "kernel": "6.18"},
        "runs": 5,
        "results": [one.as_json() for one in results],
        "ratios": compared(results, wanted) if wanted else ratios(results),
    }


RATES = [
    Result("b", "rate", "clusterip", "/s", [2, 4], more=True),
    Result("b", "rate", "peer", "/s", [1, 1], more=True),
]


def test_what_is_put_into_a_place() -> None:
    wanted = (Comparison("rate", "clusterip", "peer", at_least=3.5),)
    page = "before\n<!-- bench: b -->\nold\n<!-- bench: end -->\nafter\n"
    new = pages.filled(page, {"b": section(RATES, wanted)})
    lines = new.splitlines()
    assert (lines[0], lines[1]) == ("before", "<!-- bench: b -->")
    assert lines[2].startswith("2026-11-29, `RUNS=5`: ")
    assert lines[4:] == [
        "| measure | of | to | ratio | lowest | highest | aim | met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| rate | clusterip | peer | 3.00 | 2.00 | 4.00 | >= 3.5 | no |",
        "<!-- bench: end -->",
        "after",
    ]
    assert pages.filled(new, {"b": section(RATES, wanted)}) == new


def test_what_compares_nothing_round_by_round() -> None:
    assert pages.tables(section(RATES)).splitlines()[2:] == [
        "| measure | of | median | worst | values | unit |",
        "| --- | --- | --- | --- | --- | --- |",
        "| rate | clusterip | 3 | 2 | 2 | /s |",
        "| rate | peer | 1 | 1 | 2 | /s |",
        "",
        "| measure | of | to | median | worst |",
        "| --- | --- | --- | --- | --- |",
        "| rate | peer | clusterip | 0.33 | 0.5 |",
    ]


def test_a_benchmark_without_results() -> None:
    page = "<!-- bench: b -->\n<!-- bench: end -->\n"
    assert "Not measured yet: `make bench BENCH=b`." in pages.filled(page, {})


def test_an_aim_of_what_nobody_else_has() -> None:
    results = [
        Result("daemon", "processor", "clusterip, 3 nodes", "%", [0.9, 1.2, 0.8], at_most=1.0),
        Result("daemon", "processor", "clusterip, 8 nodes", "%", [1.6], at_most=1.5),
        Result("daemon", "message", "clusterip, 8 nodes", "bytes", [248]),
    ]
    section = {
        "machine": machine(),
        "runs": 1,
        "results": [one.as_json() for one in results],
        "ratios": [],
    }
    rows = [line.split(" | ")[-2:] for line in pages.tables(section).splitlines()[2:]]
    assert rows == [
        ["aim", "met |"],
        ["---", "--- |"],
        ["<= 1", "yes |"],
        ["<= 1.5", "no |"],
        ["", " |"],
    ]
