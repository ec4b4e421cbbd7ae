"""What was measured, where, and how it compares."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

OURS: Final = "clusterip"


@dataclass(frozen=True, slots=True)
class Result:
    """A measure of one subject, one value for each run, or for each bucket of each run.

    A `condition` is not compared: it says under what load the rest was measured. Of rates and
    the like, `more` is better.
    """

    benchmark: str
    measure: str
    subject: str
    unit: str
    values: list[float]
    condition: bool = False
    more: bool = False
    at_most: float | None = None
    """What is wanted of the median, in its unit, None for nothing: of what nobody else has."""

    @property
    def ours(self) -> bool:
        """Whether it is this project's."""
        return self.subject.startswith(OURS)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        """The largest, or the smallest where more is better."""
        return min(self.values) if self.more else max(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return it for the file of results."""
        return {
            "benchmark": self.benchmark,
            "measure": self.measure,
            "subject": self.subject,
            "unit": self.unit,
            "condition": self.condition,
            "more": self.more,
            "median": round(self.median, 4),
            "worst": round(self.worst, 4),
            "values": [round(value, 4) for value in self.values],
            **({} if self.at_most is None else {"at_most": self.at_most}),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a measure of one subject is as a multiple of another's, and what is wanted of that.

    Their values are of the same rounds, one after the other, so the ratio is taken in each.
    """

    measure: str
    subject: str
    base: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def aim(self) -> str:
        """What is wanted, "" if nothing is."""
        least = "" if self.at_least is None else f">= {self.at_least:g}"
        most = "" if self.at_most is None else f"<= {self.at_most:g}"
        return f"{least} {most}".strip()

    def rounds(self, results: Iterable[Result]) -> list[float]:
        """Return the ratio in each round; empty where one of the two was not measured."""
        values = {one.subject: one.values for one in results if one.measure == self.measure}
        pairs = zip(values.get(self.subject, ()), values.get(self.base, ()), strict=False)
        return [one / base for one, base in pairs if base]

    def met(self, ratio: float) -> bool | None:
        """Whether a ratio is as wanted, None where nothing is."""
        if not self.aim:
            return None
        least = float("-inf") if self.at_least is None else self.at_least
        most = float("inf") if self.at_most is None else self.at_most
        return least <= ratio <= most


def compared(results: Iterable[Result], wanted: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return the ratio of each comparison that was measured: median and extremes of the rounds."""
    every = list(results)
    rows = []
    for one in wanted:
        if not (found := one.rounds(every)):
            continue
        median = statistics.median(found)
        rows.append(
            {
                "measure": one.measure,
                "subject": one.subject,
                "base": one.base,
                "ratio": round(median, 3),
                "lowest": round(min(found), 3),
                "highest": round(max(found), 3),
                "aim": one.aim,
                "met": one.met(median),
            }
        )
    return rows


def merged(document: dict[str, Any], name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return the document with what was found by one benchmark put in, or replaced."""
    return {"benchmarks": document.get("benchmarks", {}) | {name: found}}


def ratios(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return for each measure what a peer's median and worst are as multiples of ours.

    None where ours is 0.
    """
    every = [one for one in results if not one.condition]
    return [
        {
            "benchmark": peer.benchmark,
            "measure": peer.measure,
            "peer": peer.subject,
            "ours": mine.subject,
            "median": _ratio(peer.median, mine.median),
            "worst": _ratio(peer.worst, mine.worst),
        }
        for peer in every
        for mine in every
        if mine.ours and not peer.ours
        if (peer.benchmark, peer.measure) == (mine.benchmark, mine.measure)
    ]


def _ratio(peer: float, ours: float) -> float | None:
    return round(peer / ours, 2) if ours else None


def machine() -> dict[str, Any]:
    """Return on what it was measured."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": models[0] if models else "unknown",
        "cores": os.cpu_count(),
        "memory_mib": memory >> 20,
        "python": platform.python_version(),
        "keepalived": _version("keepalived", "--version"),
        "iptables": _version("iptables", "--version"),
        "nft": _version("nft", "--version"),
    }


def _version(*command: str) -> str:
    try:
        told = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "not installed"
    return (told.stdout or told.stderr).partition("\n")[0]
