"""The units for systemd, the wheel that brings them, and the files that the documents show."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from clusterip.cli import main
from clusterip.core.config import advice, reading
from clusterip.core.errors import FAULT, NOT_AGAIN, SystemFaultError, UsageError
from clusterip.core.lease.timing import PROFILES
from clusterip.core.units import SECOND

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "systemd").glob("*.service"))


def settings(unit: Path) -> dict[str, str]:
    """Return what a unit sets; each key is there once."""
    pairs = re.findall(r"^(\w+)=(.*)$", unit.read_text(), flags=re.MULTILINE)
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # The command is not installed here.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/usr/bin/clusterip", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert unit.name not in done.stderr, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_its_commands_are_ours(unit: Path) -> None:
    found = settings(unit)
    for key in ("ExecStart", "ExecReload"):
        program, *words = found[key].split()
        assert program == "/usr/bin/clusterip"
        assert main.parser().parse_args(words)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_it_starts_again_what_may_get_better_and_nothing_else(unit: Path) -> None:
    found = settings(unit)
    assert found["Restart"] == "on-failure"
    never = {int(word) for word in found["RestartPreventExitStatus"].split()}
    assert never == {UsageError.exit_status, NOT_AGAIN}
    assert not never & {SystemFaultError.exit_status, FAULT, 1}
    # For ever, and never so often that anybody else would notice.
    assert found["StartLimitIntervalSec"] == "0"
    assert found["RestartSec"] == "5s"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_watchdog_waits_for_longer_than_a_restart_takes(unit: Path) -> None:
    found = settings(unit)
    wait = re.fullmatch(r"(\d+)s", found["WatchdogSec"])
    assert wait
    assert int(wait[1]) * SECOND >= 3 * max(one.restart for one in PROFILES.values())
    # Whoever hangs may not listen to SIGABRT either: TimeoutStopSec would be too long for that.
    assert found["TimeoutAbortSec"] == "5s"


def test_a_stop_may_take_as_long_as_a_drain() -> None:
    found = settings(ROOT / "systemd" / "clusterip.service")
    minutes = re.fullmatch(r"(\d+)min", found["TimeoutStopSec"])
    example = (ROOT / "docs" / "clusterip.toml").read_text()
    default = reading.read(re.sub(r"^drain_timeout.*\n", "", example, flags=re.MULTILINE))
    assert minutes
    assert int(minutes[1]) * 60 * SECOND > default.drain_timeout + 10 * SECOND


def test_the_wheel_brings_what_the_readme_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    brought = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {f"systemd/{unit.name}" for unit in UNITS} <= set(brought)
    for source in brought:
        assert (ROOT / source).exists()
    for page in (ROOT / "README.md", ROOT / "docs" / "operations.md"):
        named = re.findall(r"/opt/clusterip/((?:lib|share)/\S+)", page.read_text())
        assert set(named) <= set(brought.values())


def test_the_file_in_the_readme_can_be_used() -> None:
    (shown,) = re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert advice.advised(reading.read(shown)) == ()
