"""`make install` puts the program below a prefix, without a network, and takes it away again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_wheel import RULE, VIP, namespace

ROOT = Path(__file__).parents[1]
READY = ROOT / ".venv" / ".ready"
PREFIX = "/opt/shared"

__all__ = ["namespace"]
pytestmark = [
    pytest.mark.root("a network namespace, and who installs packages"),
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
    (below / "share/doc/other").mkdir()
    said = make("uninstall", tmp_path)
    assert f"removed from {below}: bin/clusterip" in said
    # What it made goes, and what others made there stays.
    assert [str(one.relative_to(below)) for one in sorted(below.rglob("*"))] == [
        "share",
        "share/doc",
        "share/doc/other",
    ]
    assert f"nothing of clusterip is installed below {below}" in make("uninstall", tmp_path)


def test_what_is_said_of_the_host_itself(tmp_path: Path) -> None:
    """Of a folder that systemd does not look into, and of a daemon that runs still."""

    def program(*words: str) -> str:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    prefix = tmp_path / "x"
    said = program("make", "--no-print-directory", "install", f"PREFIX={prefix}")
    assert f"systemctl link {prefix}/lib/systemd/system/clusterip.service" in said
    (prefix / "bin/clusterip").write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        (sys.executable, prefix / "bin/clusterip", "run"), stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout
        daemon.stdout.readline()
        said = program("make", "--no-print-directory", "uninstall", f"PREFIX={prefix}")
        daemon.kill()
    assert f"WARNING: a daemon runs still, process {daemon.pid}," in said
    assert list(prefix.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("PREFIX=there",), "PREFIX must begin with /: there"),
        (("DESTDIR=there",), "DESTDIR must begin with /: there"),
    ],
)
def test_a_place_that_depends_on_where_one_is(words: tuple[str, ...], said: str) -> None:
    for target in ("install", "uninstall"):
        done = subprocess.run(
            ("make", target, *words), cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert said in done.stderr
    assert not (ROOT / "there").exists()


def test_building_installs_no_server(tmp_path: Path) -> None:
    """Of a Debian on which nothing is installed, and which has no apt-get."""
    query = tmp_path / "dpkg-query"
    query.write_text("#!/bin/sh\nexit 1\n")
    query.chmod(0o755)

    def wanted(*words: str) -> set[str]:
        bash = shutil.which("bash") or "bash"
        done = subprocess.run(
            (bash, ROOT / "scripts/install", *words),
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return set(done.stderr.partition("by hand: ")[2].split())

    assert {"clang", "libbpf-dev", "python3-venv"} <= wanted("build")
    assert not {"nginx-light", "keepalived", "libfuse3"} & wanted("build")
    assert {"clang", "nginx-light", "keepalived", "libfuse3"} <= wanted()


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
