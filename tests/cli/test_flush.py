"""`clusterip flush`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusterip.adapters import bpffs, runfiles
from tests.cli.conftest import Commands
from tests.namespaces import ip

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
    assert cli.well("flush") == "nothing was shared in this network namespace\n"
    assert cli.everything() == before
    cli.iptables(f"{RULE} --manage-address")
    cli.iptables(RULE.replace("eth0", "wire").replace(VIP, "10.9.0.99"))
    assert cli.well("flush") == "took away 2 rules for 2 VIPs on eth0, wire\n"
    assert cli.everything() == before
    assert not bpffs.namespace_folder().exists()


def test_in_json(cli: Commands) -> None:
    ip(f"address add {VIP}/32 dev eth0")
    cli.iptables(RULE)
    told = json.loads(cli.well("flush", "--json"))
    (warning,) = told.pop("warnings")
    assert warning["code"] == "vip-left"
    assert told == {
        "done": "took away 1 rule for 1 VIP on eth0",
        "rules": 1,
        "vips": [VIP],
        "interfaces": ["eth0"],
    }


def test_a_word_too_many(cli: Commands) -> None:
    before = cli.everything()
    assert cli("flush", "extra").status == 2
    assert cli.everything() == before
