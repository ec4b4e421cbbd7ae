"""`make demo`: every count right, nothing left, also when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.namespace import NETNS, NOBODY
from lab.wait import eventually

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "lab.demo"]

pytestmark = pytest.mark.usefixtures("_able")


def namespaces_of(pid: int) -> list[Path]:
    return list(NETNS.glob(f"ci-{pid}-*"))


def test_every_count_is_right() -> None:
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as demo:
        output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    assert "Every count is right" in output
    assert "WRONG" not in output
    assert "fault" not in output
    assert "\x1b" not in output  # no terminal, no colour
    assert [line[0] for line in re.findall(r"^[1-9]\. .*", output, re.MULTILINE)] == list("1234")
    assert namespaces_of(demo.pid) == []


def test_interrupted() -> None:
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as demo:
        eventually(lambda: namespaces_of(demo.pid), what="the demo to build its lab")
        os.kill(demo.pid, signal.SIGTERM)
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM
    assert "removed" in output
    assert namespaces_of(demo.pid) == []


def test_without_root() -> None:
    done = subprocess.run(
        [*NOBODY, *COMMAND], check=False, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert "root" in done.stdout
