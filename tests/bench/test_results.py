"""What the benchmarks make of their numbers: ratios, aims, and one file for all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS, _write
from bench.results import Comparison, Result, compared, merged

RATE = "rate"


def results(ours: list[float], peer: list[float]) -> list[Result]:
    return [
        Result("b", RATE, "clusterip", "/s", ours, more=True),
        Result("b", RATE, "peer", "/s", peer, more=True),
        Result("b", "time", "peer", "s", [0.5]),
    ]


def test_the_ratio_is_taken_round_by_round() -> None:
    # The machine was three times as fast in the second round; the median of each alone says 1.
    wanted = [Comparison(RATE, "clusterip", "peer", at_least=1.5)]
    (row,) = compared(results([2, 6, 3], [1, 3, 6]), wanted)
    assert (row["ratio"], row["lowest"], row["highest"]) == (2, 0.5, 2)
    assert (row["aim"], row["met"]) == (">= 1.5", True)


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({}, None),
        ({"at_least": 2}, True),
        ({"at_least": 2.1}, False),
        ({"at_most": 2}, True),
        ({"at_most": 1.9}, False),
    ],
)
def test_whether_an_aim_is_met(limits: dict[str, float], met: bool | None) -> None:
    (row,) = compared(results([2], [1]), [Comparison(RATE, "clusterip", "peer", **limits)])
    assert row["met"] is met


def test_what_was_not_measured_is_not_compared() -> None:
    wanted = [Comparison(RATE, "clusterip", "nobody"), Comparison("time", "clusterip", "peer")]
    assert compared(results([2], [1]), wanted) == []


def test_the_worst() -> None:
    most, least = results([1, 3], [2])[0], Result("b", "time", "clusterip", "s", [1, 3])
    assert (most.worst, least.worst) == (1, 3)


def test_one_benchmark_leaves_what_others_found(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    _write(file, "moves", {"runs": 1})
    _write(file, "discard", {"runs": 2})
    _write(file, "moves", {"runs": 3})
    found = json.loads(file.read_text())
    assert found == {"benchmarks": {"moves": {"runs": 3}, "discard": {"runs": 2}}}
    assert merged({}, "scale", {}) == {"benchmarks": {"scale": {}}}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_comparisons_are_of_different_subjects(name: str) -> None:
    wanted: tuple[Comparison, ...] = getattr(BENCHMARKS[name], "COMPARISONS", ())
    assert len(set(wanted)) == len(wanted)
    assert all(one.subject != one.base for one in wanted)
    assert all(one.subject.startswith("clusterip") for one in wanted)
