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
from lab.stage import Stage
from lab.wait import eventually
from tests.second_tries import TooSlowError, twice_at_most

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "lab.demo"]

pytestmark = pytest.mark.usefixtures("_able")


def namespaces_of(pid: int) -> list[Path]:
    return list(NETNS.glob(f"ci-{pid}-*"))


def run_to_the_end() -> tuple[int, str]:
    """Return the exit status, and all it printed."""
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as demo:
        output, _ = demo.communicate(timeout=240)
    assert namespaces_of(demo.pid) == []
    return demo.returncode, output


def claims(output: str) -> list[str]:
    """Return the lines of the last table, each claim in one."""
    table = output[output.index("what was claimed") :]
    rows = re.findall(r"^│.*", table, re.MULTILINE)
    return [re.sub(r"\s*│\s*", "|", line).strip("|") for line in rows]


def test_every_count_is_right() -> None:
    twice_at_most(every_count_is_right)


def every_count_is_right() -> None:
    status, output = run_to_the_end()
    wrong = re.findall(r"^WRONG: .*", output, re.MULTILINE)
    if wrong and all("nobody answers for" in line for line in wrong):
        raise TooSlowError("; ".join(wrong))
    assert status == 0, output
    assert "Every count is right" in output
    assert "WRONG" not in output
    assert re.search(r"\bfaults?\b", output) is None
    assert "\x1b" not in output  # no terminal, no colour
    steps = [line[0] for line in re.findall(r"^[1-9]\. .*", output, re.MULTILINE)]
    assert steps == list("12345678")
    told = claims(output)
    for claim in ("h3 dies: nobody answers for", "h2 dies: nobody answers for"):
        assert sum(claim in line for line in told) == 1
    assert told.count("... connections to the others, broken|0|0|ok") == 2
    assert told.count("... connections broken|0|0|ok") == 2
    assert sum("SYNs answered twice|0|0|ok" in line for line in told) == 5
    assert "... and said|h1 is drained|h1 is drained|ok" in told


def test_a_claim_that_comes_out_wrong() -> None:
    stage = Stage()
    stage.check("equal", 1, 1)
    stage.check_at_least("enough", 300, 300)
    stage.check_at_most("in time", 1.0, 1.0, "s")
    assert stage.summary()
    stage.check("equal", 1, "1")
    stage.check_at_least("enough", 300, 299)
    stage.check_at_most("in time", 1.0, 1.01, "s")
    assert [check.right for check in stage.checks] == [True] * 3 + [False] * 3
    assert not stage.summary()


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
