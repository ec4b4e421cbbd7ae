"""Labs are run by as many workers as there are processors, and everything is run once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
PROCESSORS = len(os.sched_getaffinity(0))
TESTS = """\
import os, pytest, time

@pytest.mark.parametrize("number", range(6))
def test_it(number):
    time.sleep(0.02)
    assert os.nice(0) == {nice}
"""
WHERE = ("lan", "runtime", "core", "sim")


def test_who_runs_what(tmp_path: Path) -> None:
    for folder in WHERE:
        (tmp_path / "tests" / folder).mkdir(parents=True)
        for number in range(2 * PROCESSORS + 1):
            # What is a lab's has the processor before what calculates elsewhere.
            nice = os.nice(0) if folder in {"lan", "runtime"} else "pytest.approx(10, abs=20)"
            file = tmp_path / "tests" / folder / f"test_{folder}{number}.py"
            file.write_text(TESTS.format(nice=nice))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.distribution", "-n", "auto", "-v"),
            *("-p", "no:cacheprovider", "--rootdir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout
    ran = re.findall(r"^\[gw(\d+)\].*PASSED (tests/(\w+)/\S+)", done.stdout, re.MULTILINE)
    assert Counter(test for _, test, _ in ran).total() == len(WHERE) * (2 * PROCESSORS + 1) * 6
    assert max(Counter(test for _, test, _ in ran).values()) == 1
    workers = {folder: {int(gw) for gw, _, where in ran if where == folder} for folder in WHERE}
    assert max(workers["lan"] | workers["runtime"]) < PROCESSORS
    assert max(workers["core"] | workers["sim"]) >= PROCESSORS
