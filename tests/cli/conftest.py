"""Running the command: within the test where it can be, else as a process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.clock import boottime
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.cli.main import main
from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.core.packets.state import InterfaceState
from clusterip.runtime.rule_table import RuleTable
from tests.namespaces import Traces, own_namespace, traces

ABSENT = re.compile(r"clusterip: warning: \S+ is no address of this host.*\n  cure: .*\n")
"""What rules without --manage-address are told, which most tests do not need."""
SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


class Commands:
    """Runs commands in the namespace of the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def __call__(self, *words: str) -> Done:
        """Run it within the test, whatever becomes of it."""
        self._capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as end:
            status = int(end.code or 0)
        said = self._capsys.readouterr()
        return Done(status, said.out, said.err)

    def well(self, *words: str) -> str:
        """Run it; it must succeed and have nothing to complain about. Returns its output."""
        done = self(*words)
        assert (done.status, ABSENT.sub("", done.err)) == (0, "")
        return done.out

    def iptables(self, line: str) -> str:
        return self.well("iptables", *line.split())

    def refused(self, status: int, *words: str) -> str:
        """Run what must be refused and change nothing; returns the complaint."""
        before = self.everything()
        done = self(*words)
        assert (done.status, done.out) == (status, "")
        assert done.err.startswith("clusterip: ")
        assert "Traceback" not in done.err
        assert self.everything() == before
        return done.err

    def everything(self) -> tuple[str, Traces]:
        """Return all that a command could change."""
        return self.iptables("-S"), traces(self._folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A network namespace of the test's own, with `eth0`; the value is where its pins are."""
    with own_namespace() as one:
        yield one


CONFIG: Final = """\
[cluster]
name = "web"
interface = "eth0"
buckets = 4

[[vip]]
address = "10.9.0.200"
service = [{ protocol = "tcp", ports = [80] }, { protocol = "all", hashmode = "sourceip" }]

[[vip]]
address = "10.9.0.201"

[[node]]
name = "web1"

[[node]]
name = "web2"

[[node]]
name = "web3"
"""


@pytest.fixture
def run_by_daemon(folder: Path) -> InterfaceState:
    """What a daemon runs on eth0: two VIPs with one table, buckets 2 and 3 held."""
    index = socket.if_nametoindex("eth0")
    state = interface_state(read(CONFIG), index, "eth0")
    RuleTable.open().edit(lambda chain: chain.with_interface(state))
    with PinnedMaps(folder).open(index) as maps:
        for bucket in (2, 3):
            maps.set_bucket(0, bucket, BucketState.OWNED)
        maps.set_deadline(0, boottime() + 3600 * 10**9)
        return maps.rules()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], folder: Path) -> Commands:
    return Commands(capsys, folder)


def environment() -> dict[str, str]:
    """Return the environment of a user: output is buffered, whatever the tests run with."""
    others = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return {**others, "PYTHONPATH": str(SOURCE)}


Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def process() -> Process:
    """Run the command as a process, in the namespace that the test is in."""

    def run(*words: str, stdin: str = "", before: tuple[str, ...] = ()) -> Any:
        return subprocess.run(
            (*before, sys.executable, "-m", "clusterip.cli.main", *words),
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
