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

    A `condition` is not compared: it says under what load the rest was measured.
    """

    benchmark: str
    measure: str
    subject: str
    unit: str
    values: list[float]
    condition: bool = False

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
        """The largest: for all measures here, less is better."""
        return max(self.values)

    def as_json(self) -> dict[str, Any]:
        """Return it for the file of results."""
        return {
            "benchmark": self.benchmark,
            "measure": self.measure,
            "subject": self.subject,
            "unit": self.unit,
            "condition": self.condition,
            "median": round(self.median, 4),
            "worst": round(self.worst, 4),
            "values": [round(value, 4) for value in self.values],
        }


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
