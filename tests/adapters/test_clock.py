"""The clock of the leases is that of the kernel's programs, or it is refused: real namespaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clusterip.adapters import clock

_REFUSE = "from clusterip.adapters import clock; clock.refuse_offset()"
needs_root = pytest.mark.root("time namespaces")


def refused(*offsets: str) -> str:
    """Return what is said in a time namespace with these offsets, "" for nothing."""
    words = ("unshare", "--time", "--fork", *offsets, "--", sys.executable, "-c", _REFUSE)
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


def test_here() -> None:
    clock.refuse_offset()


def test_a_kernel_without_time_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_OFFSETS", tmp_path / "timens_offsets")
    clock.refuse_offset()


@needs_root
@pytest.mark.parametrize("seconds", [100000, -1])
def test_another_boottime(seconds: int) -> None:
    said = refused("--boottime", str(seconds))
    assert f"a time namespace, with a boottime {seconds} s from the kernel's" in said
    assert "cure: run it in the machine's own time namespace" in said


@needs_root
def test_a_time_namespace_with_the_same_boottime() -> None:
    assert refused() == ""
    assert refused("--monotonic", "100000") == ""
