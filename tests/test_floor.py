"""The lower bounds of the dependencies, which `make test-floor` tests with."""

from __future__ import annotations

import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_dependency_has_one() -> None:
    printed = subprocess.check_output((ROOT / "scripts" / "floor",), text=True).splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = {*project["dependencies"], *(one for extra in extras for one in extra)}
    floors = dict(line.split("==") for line in printed)
    assert len(floors) == len(printed)
    for one in wanted:
        name, bound = one.split(",")[0].split(">=")
        assert floors[name] == bound
        # What is installed, at the floor or above it, is not below it.
        assert _number(version(name)) >= _number(bound)


def _number(words: str) -> tuple[int, ...]:
    return tuple(int(part) for part in words.split(".") if part.isdigit())
