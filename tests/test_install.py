"""`make install` puts the program below a prefix, without a network, and takes it away again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_wheel import RULE, VIP, namespace

ROOT = Path(__file__).parents[1]
READY = ROOT / ".venv" / ".ready"
PREFIX = "/opt/shared"

__all__ = ["namespace"]
pytestmark = [
    pytest.mark.root("a network namespace"),
    pytest.mark.skipif(not READY.exists(), reason="there is no .venv; make dev makes it"),
]


def make(target: str, destination: Path, *before: str) -> str:
    """Run make as an administrator does; returns what it printed."""
    done = subprocess.run(
        (
            *before,
            "make",
            "--no-print-directory",
            target,
            f"PREFIX={PREFIX}",
            f"DESTDIR={destination}",
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if not one.is_dir()}


def test_installed_used_and_taken_away(namespace: str, tmp_path: Path) -> None:
    inside = ("nsenter", f"--net=/run/netns/{namespace}", "--")
    below = tmp_path / PREFIX.lstrip("/")
    # Twice: the second is an upgrade. From this network nothing can be fetched.
    for _ in range(2):
        said = make("install", tmp_path, *inside)
        assert f"installed: {below}/bin/clusterip" in said
        # Of a package that is made nothing is to be done here.
        assert "systemctl" not in said
        assert "restart" not in said
    packages = {one for one in files(below) if one.startswith("lib/clusterip/")}
    assert files(below) - packages == {
        "bin/clusterip",
        "lib/systemd/system/clusterip.service",
        "lib/systemd/system/clusterip-witness.service",
        "share/man/man8/clusterip.8",
        *(
            f"share/doc/clusterip/{name}"
            for name in (
                *(one.name for one in (ROOT / "docs").iterdir()),
                "CHANGELOG.md",
                "LICENSE",
                "LICENSE.bpf",
            )
        ),
    }
    assert not [one for one in packages if re.search(r"/(pytest|mypy|ruff|pip|build)/", one)]
    unit = (below / "lib/systemd/system/clusterip.service").read_text()
    assert f"\nExecStart={PREFIX}/bin/clusterip run\n" in unit
    enter = (shutil.which("nsenter") or "nsenter", *inside[1:], below / "bin" / "clusterip")
    # What this environment has besides is not to be found.
    alone = {"PATH": "/nowhere", "PYTHONPATH": str(tmp_path / "nothing")}

    def run(*words: str) -> str:
        done = subprocess.run(
            (*enter, *words), env=alone, check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
        return done.stdout

    missing = subprocess.run(
        (*enter, "check", tmp_path / "none.toml"),
        env=alone,
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    for page in ("clusterip.toml", "configuration.md"):
        assert str((below / "share/doc/clusterip" / page).resolve()) in missing
    try:
        run("iptables", *RULE.split())
        assert run("bucket", VIP) == "2\n"
        (interface,) = json.loads(run("show", "--json"))["interfaces"]
        assert interface["tc"]
        linked = tmp_path / "clusterip"
        linked.symlink_to(below / "bin" / "clusterip")
        assert "show" in subprocess.check_output((linked, "--help"), text=True, env=alone)
    finally:
        run("flush")
    make("uninstall", tmp_path)
    assert files(below) == set()


def test_where_packages_cannot_be_had(tmp_path: Path) -> None:
    """Nothing is installed, and it is said what is needed."""
    tree = tmp_path / "tree"
    for name in ("Makefile", "pyproject.toml", "hatch_build.py"):
        tree.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tree)
    done = subprocess.run(
        ("make", "install", f"DESTDIR={tmp_path}"),
        cwd=tree,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "from a folder with their wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER" in done.stderr
    assert not (tmp_path / "usr").exists()
