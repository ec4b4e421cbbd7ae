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
    assert (warning["severity"], warning["code"]) == ("warning", "vip-not-here")
    assert (warning["what"], warning["why"]) == (SAID, "")
    assert warning["cure"].startswith(CURE)
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


def given(vip: str, mac: str = "01:00:5e:00:00:20") -> list[str]:
    return RULE.replace(VIP, vip).replace("01:00:5e:00:00:20", mac).split()


@pytest.mark.parametrize(
    ("vip", "said"),
    [
        ("10.9.0.255", "10.9.0.255 is the broadcast address of 10.9.0.1/24 on eth0"),
        ("10.9.0.0", "10.9.0.0 is the network's own address of 10.9.0.1/24 on eth0"),
    ],
)
def test_what_no_daemon_would_share(cli: Commands, vip: str, said: str) -> None:
    done = cli("iptables", *given(vip))
    assert done.status == 0
    assert said in done.err
    assert cli("iptables", "-C", *given(vip)[1:]).status == 0
    assert said in cli("show").out


@pytest.mark.parametrize(
    ("mac", "said"),
    [
        ("01:00:5e:00:00:16", "the MAC of 224.0.0.22 (IGMP)"),
        ("01:00:5e:01:02:03", "is subject to IGMP snooping"),
    ],
)
def test_a_mac_of_others(cli: Commands, mac: str, said: str) -> None:
    done = cli("iptables", *given(VIP, mac), "--manage-address")
    assert done.status == 0
    assert said in done.err
    assert "--clustermac 01:00:5e:00:00:" in done.err


@pytest.mark.parametrize("words", ["flush", "iptables -F", "iptables -D INPUT 1"])
def test_an_address_that_is_left_alone(cli: Commands, words: str) -> None:
    ip(f"address add {VIP}/32 dev eth0 scope host")
    assert cli("iptables", *RULE.split()).err == ""
    second = RULE.replace("80", "81")
    assert cli("iptables", *second.split()).err == ""
    assert cli("iptables", "-D", *second.split()[1:]).err == ""  # a rule is left
    done = cli(*words.split())
    assert done.status == 0
    first, cure = done.err.splitlines()
    assert first.startswith(f"clusterip: warning: {VIP} is on eth0 still")
    ip(cure.removeprefix("  cure: ip "))
    # None of ours is left.
    assert cli("iptables", *RULE.split(), "--manage-address").err == ""
    assert cli(*words.split()).err == ""
