"""The bounds of the dependencies: every one has both, and `make test-floor` tests the lower."""

from __future__ import annotations

import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_dependency_has_both() -> None:
    printed = subprocess.check_output((ROOT / "scripts" / "floor",), text=True).splitlines()
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = (
        whole["build-system"]["requires"],
        whole["project"]["dependencies"],
        *whole["project"]["optional-dependencies"].values(),
    )
    wanted = {one for some in lists for one in some}
    floors = dict(line.split("==") for line in printed)
    assert len(floors) == len(printed)
    for one in wanted:
        lower, upper = one.split(",")
        name, bound = lower.split(">=")
        assert floors[name] == bound
        # What is installed, at the floor or above it, is not below it.
        assert _number(bound) <= _number(version(name)) < _number(upper.removeprefix("<"))


def _number(words: str) -> tuple[int, ...]:
    return tuple(int(part) for part in words.split(".") if part.isdigit())
