"""What this host's addresses lack for its rules: said, with the cure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Commands
from tests.namespaces import ip

pytestmark = pytest.mark.root("network namespaces")
VIP = "10.9.0.100"
RULE = (
    f"-A INPUT -p tcp -d {VIP} -i eth0 --dport 80 -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 1"
)
SAID = f"{VIP} is no address of this host, which answers nothing for it"
CURE = f"ip address add {VIP}/32 dev eth0 scope host"


def test_a_rule_without_its_address(cli: Commands) -> None:
    done = cli("iptables", *RULE.split())
    assert (done.status, done.out) == (0, "")
    first, second = done.err.splitlines()
    assert first == f"clusterip: warning: {SAID}"
    assert second.startswith(f"  cure: {CURE}, or")
    shown = cli("show")
    assert shown.status == 0
    assert f"  warning: {SAID}\n  cure: {CURE}" in shown.out
    (interface,) = json.loads(cli.well("show", "--json"))["interfaces"]
    (warning,) = interface["warnings"]
    assert SAID in warning
    # The cure is one.
    ip(CURE.removeprefix("ip "))
    assert "warning" not in cli.well("show")
    assert cli("iptables", *RULE.split()).err == ""


def test_a_rule_that_brings_its_address(cli: Commands) -> None:
    assert cli("iptables", *RULE.split(), "--manage-address").err == ""
    assert "warning" not in cli.well("show")


@pytest.mark.parametrize("where", ["lo", "eth0"])
def test_an_address_anywhere_on_the_host(cli: Commands, where: str) -> None:
    ip(f"address add {VIP}/24 dev {where}")
    assert cli("iptables", *RULE.split()).err == ""


def test_rules_of_a_file(cli: Commands, tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text(f"*filter\n{RULE}\nCOMMIT\n")
    assert SAID not in cli("import", str(file)).err
    assert SAID in cli("import", "--apply", str(file)).err


ONLY = "this host has no IPv4 address but VIPs"


def test_a_vip_that_is_the_only_address(cli: Commands) -> None:
    ip("address flush dev eth0 scope global")
    ip(f"address add {VIP}/24 dev eth0")
    first, cure = cli("iptables", *RULE.split()).err.splitlines()
    assert first.startswith(f"clusterip: warning: {ONLY}")
    assert "ip address add ADDRESS/LENGTH dev eth0" in cure
    assert ONLY in cli.well("show")
    ip("address add 10.9.0.7/24 dev eth0")
    assert ONLY not in cli.well("show")
    assert cli("iptables", *RULE.split()).err == ""
