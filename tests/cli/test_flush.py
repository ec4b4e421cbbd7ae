"""`clusterip flush`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterip.adapters import bpffs, runfiles
from tests.cli.conftest import Commands

VIP = "10.9.0.100"
RULE = (
    f"-A INPUT -d {VIP}/32 -i eth0 -p udp -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1 --hash-init 7"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def test_flush(cli: Commands) -> None:
    before = cli.everything()
    cli.well("flush")
    assert cli.everything() == before
    cli.iptables(f"{RULE} --manage-address")
    cli.iptables(RULE.replace("eth0", "wire").replace(VIP, "10.9.0.99"))
    cli.well("flush")
    assert cli.everything() == before
    assert not bpffs.namespace_folder().exists()


def test_a_word_too_many(cli: Commands) -> None:
    before = cli.everything()
    assert cli("flush", "extra").status == 2
    assert cli.everything() == before
