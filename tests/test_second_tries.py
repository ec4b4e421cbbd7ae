"""How often a timing test was tried again is said at the end, and more than a few fail the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_tries import BORNE, twice_at_most

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
SLOW_ONCE = """\
import pytest
from tests.second_tries import TooSlowError, twice_at_most

@pytest.mark.parametrize("number", range({tests}))
def test_slow_once(number):
    tries = []

    def scenario():
        tries.append(number)
        if len(tries) == 1:
            raise TooSlowError(f"{{number}} was slow\\nthis once")

    twice_at_most(scenario)
"""


@pytest.mark.parametrize(("workers", "tests"), [(0, 0), (0, BORNE + 1), (2, BORNE), (2, BORNE + 1)])
def test_told_and_borne(tmp_path: Path, workers: int, tests: int) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW_ONCE.format(tests=tests) + "def test_quick(): 0\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.second_tries", f"-n{workers}"),
            *("-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    verdict = "more than 3: the run fails" if tests > BORNE else "at most 3 are borne"
    assert f"second tries of timing tests: {tests}, {verdict}\n" in done.stdout, done.stdout
    assert done.stdout.count(" was slow\n") == tests
    assert done.returncode == (tests > BORNE)


def test_what_is_wrong_otherwise_fails_at_once() -> None:
    tries = []

    def scenario(error: AssertionError) -> None:
        tries.append(error)
        raise error

    with pytest.raises(AssertionError, match="wrong"):
        twice_at_most(lambda: scenario(AssertionError("wrong")))
    assert len(tries) == 1
