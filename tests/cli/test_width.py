"""All that commands print goes into 80 columns, and nothing of it is cut."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.clock import boottime
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.runtime.rule_table import RuleTable
from tests.cli.answering import Answering, answering
from tests.cli.conftest import Commands

MOST = 80

FEW = """\
[cluster]
name = "web"
interface = "eth0"

[[vip]]
address = "10.9.0.100"
service = [
  { protocol = "tcp", ports = [80, 443] },
  { protocol = "udp", ports = [53], hashmode = "sourceip" },
  { protocol = "tcp", ports = [22], action = "single", bucket = 7 },
]

[[vip]]
address = "2001:db8:9:1::100"
service = [
  { protocol = "tcp", ports = [80, 443] },
  { protocol = "all", action = "drop" },
]

[[node]]
name = "web1"
[[node]]
name = "web2"
[[node]]
name = "web3"
"""
NAME = "a-host-of-the-cluster-whose-name-is-as-long-as-it-may-be-{:02}"
MANY = (
    FEW.partition("[[vip]]")[0]
    + "".join(f'[[vip]]\naddress = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:{n:x}"\n' for n in range(64))
    + "".join(f'[[node]]\nname = "{NAME.format(n)}"\n' for n in range(32))
)


@contextmanager
def served(text: str, folder: Path) -> Iterator[Answering]:
    """Have a daemon that runs eth0 by such a file answer."""
    state = interface_state(read(text), socket.if_nametoindex("eth0"), "eth0")
    Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
    RuleTable.open().edit(lambda chain: chain.with_interface(state))
    with PinnedMaps(folder).open(state.index) as maps:
        maps.set_deadline(0, boottime() + 3600 * 10**9)
    with answering() as daemon:
        daemon.document.update(total=120, connections={})
        yield daemon


def shared_out(daemon: Answering, names: list[str], *, every: int) -> None:
    """Have the nodes hold 120 buckets: runs of them, or `every` so many one."""
    template = daemon.node()
    nodes: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        share = 120 // len(names)
        held = list(range(1 + at * share, 1 + (at + 1) * share))
        if every:
            held = [one for one in range(1, 121) if one % every == at % every]
        nodes.append({**template, "name": name, "me": not at, "held": held})
    for node in nodes:
        node["votes"] = {one["name"]: one["held"] for one in nodes}
    daemon.document.update(node=names[0], nodes=nodes, held=nodes[0]["held"])


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def longest(text: str) -> str:
    return max(text.splitlines(), key=len)


def test_three_hosts_and_two_vips(cli: Commands, folder: Path) -> None:
    with served(FEW, folder) as daemon:
        shared_out(daemon, ["web1", "web2", "web3"], every=0)
        said = cli.well("show")
    assert len(longest(said)) <= MOST, longest(said)
    lines = [line.split() for line in said.splitlines()]
    assert ["2001:db8:9:1::100", "tcp", "443", "sourceip-sourceport", "0"] in lines
    assert ["10.9.0.100", "tcp", "22", "all", "to", "bucket", "7", "0"] in lines
    assert ["10.9.0.100", "udp", "53", "sourceip", "0"] in lines
    assert ["2001:db8:9:1::100", "all", "dropped", "0"] in lines


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(MOST))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.parametrize(
    ("text", "names"),
    [(FEW, ["web1", "web2", "web3"]), (MANY, [NAME.format(n) for n in range(32)])],
    ids=["few", "many"],
)
def test_many_hosts_and_vips_on_a_terminal(
    text: str,
    names: list[str],
    cli: Commands,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with served(text, folder) as daemon:
        shared_out(daemon, names, every=3)
        told = [cli.well("show", *more) for more in ((), ("-v",))]
        terminal(monkeypatch)
        said = [cli.well("show", *more) for more in ((), ("-v",))]
    # The rules, which can be copied, are not broken.
    assert len(longest(said[0])) <= MOST, longest(said[0])
    for whole, broken in zip(told, said, strict=True):
        numbers = re.compile(r"[0-9:]*(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|\d+[,:\n ]")
        there = re.sub(r",\n +", ",", broken)
        assert {one for one in numbers.findall(whole) if one.strip() not in there} == set()
        assert all(name in broken for name in names)
