"""The wheel works where there is no compiler."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
VIP = "10.9.0.100"
RULE = (
    f"-A INPUT -p tcp -d {VIP} -i eth0 --dport 80 -j CLUSTERIP --new --hashmode sourceip "
    "--clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 2 --manage-address"
)


pytestmark = pytest.mark.root("a network namespace")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it, alone, in an empty virtual environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    home = folder / "venv"
    venv.create(home, with_pip=True)
    subprocess.run((home / "bin" / "pip", "install", "--quiet", wheel), check=True)
    return home / "bin" / "clusterip"


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"wheel-{os.getpid()}"
    subprocess.run(("ip", "netns", "add", name), check=True)
    for words in (
        "link add eth0 type veth peer name other",
        "link set eth0 up",
        "link set other up",
        "address add 10.9.0.1/24 dev eth0",
    ):
        subprocess.run(("ip", "-n", name, *words.split()), check=True)
    yield name
    subprocess.run(("ip", "netns", "del", name), check=True)


def test_works_without_a_compiler(command: Path, namespace: str) -> None:
    enter = (shutil.which("nsenter") or "nsenter", f"--net=/run/netns/{namespace}", "--", command)
    alone = {"PATH": str(command.parent)}
    assert shutil.which("clang", path=alone["PATH"]) is None

    def run(*words: str) -> str:
        done = subprocess.run(
            (*enter, *words), env=alone, check=True, capture_output=True, text=True
        )
        assert done.stderr == ""
        return done.stdout

    try:
        run("iptables", *RULE.split())
        assert run("bucket", VIP) == "2\n"
        (interface,) = json.loads(run("show", "--json"))["interfaces"]
        assert interface["tc"]
    finally:
        run("flush")
    assert run("show") == "nothing is shared in this network namespace\n"


def test_man_finds_the_page(command: Path, tmp_path: Path) -> None:
    """By the PATH that finds the command, and by the link that the README makes."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    page = command.parents[1] / "share" / "man" / "man8" / "clusterip.8"
    by_path = f"{command.parent}:{os.environ['PATH']}"
    linked = r"^ln -s /opt/clusterip/(share/\S+) /usr/(share/\S+)/ "
    (link,) = re.findall(linked, README, re.MULTILINE)
    folder = tmp_path / "usr" / link[1]
    folder.mkdir(parents=True)
    (folder / page.name).symlink_to(command.parents[1] / link[0])
    for words, more, found in (
        (("man", "-w", "clusterip"), {"PATH": by_path}, page),
        (("man", "-w", "-M", tmp_path / "usr/share/man", "clusterip"), {}, folder / page.name),
    ):
        done = subprocess.run(
            words, env={**os.environ, **more}, check=True, capture_output=True, text=True
        )
        assert Path(done.stdout.strip()).resolve() == found.resolve()


def test_licences_are_in_it(command: Path) -> None:
    (wheel,) = command.parents[2].glob("*.whl")
    listed = subprocess.run(
        (sys.executable, "-m", "zipfile", "-l", wheel), check=True, capture_output=True, text=True
    ).stdout
    assert "licenses/LICENSE" in listed
    assert "licenses/bpf/LICENSE" in listed
    assert "clusterip.bpf.o" in listed
