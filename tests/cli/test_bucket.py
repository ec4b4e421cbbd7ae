"""`clusterip bucket`: what this host holds, taken and given up by hand."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Commands

VIP = "10.9.0.100"


@pytest.fixture(autouse=True)
def rule(cli: Commands) -> None:
    cli.iptables(
        f"-A INPUT -d {VIP} -i eth0 -j CLUSTERIP --new --hashmode sourceip"
        " --clustermac 01:00:5e:00:00:20 --total-nodes 4 --local-node 2"
    )


def test_shown(cli: Commands) -> None:
    assert cli.well("bucket", VIP) == "2\n"
    assert cli.well("bucket", VIP, "--json") == "[2]\n"


def test_taken_and_given_up(cli: Commands) -> None:
    before = cli.iptables("-S")
    assert cli.well("bucket", VIP, "+4") == f"took bucket 4 of {VIP}: held now 2,4\n"
    assert cli.well("bucket", VIP, "+03") == f"took bucket 3 of {VIP}: held now 2,3,4\n"
    assert cli.well("bucket", VIP) == "2,3,4\n"
    assert cli.well("bucket", VIP, "-2") == f"gave up bucket 2 of {VIP}: held now 3,4\n"
    assert json.loads(cli.well("bucket", VIP, "-4", "--json")) == [3]
    assert cli.well("bucket", VIP, "-3") == f"gave up bucket 3 of {VIP}: held now none\n"
    assert cli.well("bucket", VIP) == "\n"
    assert cli.well("bucket", VIP, "--json") == "[]\n"
    # The rule says what it said.
    assert cli.iptables("-S") == before


def test_what_is_held_stays_when_rules_come_and_go(cli: Commands) -> None:
    cli.well("bucket", VIP, "-2")
    cli.well("bucket", VIP, "+1")
    cli.iptables(f"-A INPUT -p icmp -d {VIP} -i eth0 -j CLUSTERIP")
    assert cli.well("bucket", VIP) == "1\n"
    cli.iptables("-D INPUT 1")
    assert cli.well("bucket", VIP) == "1\n"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ("+0", 1, "there is no bucket 0"),
        ("+5", 1, "there is no bucket 5"),
        ("+2", 1, "bucket 2 is held here already"),
        ("-9", 1, "there is no bucket 9"),
        ("-3", 1, "bucket 3 is not held here"),
        ("x", 2, "'x' is no change of a bucket"),
        ("2", 2, "'2' is no change of a bucket"),
        ("", 2, "'' is no change of a bucket"),
        ("+", 2, "no number follows"),
        ("+3 ", 2, "'3 ' is not a decimal number"),
        ("+3x", 2, "'3x' is not a decimal number"),
        ("+0x3", 2, "'0x3' is not a decimal number"),
        ("+0000000003", 2, "11 bytes are more than a change can have"),
    ],
)
def test_refused(cli: Commands, change: str, status: int, said: str) -> None:
    held = cli.well("bucket", VIP)
    assert said in cli.refused(status, "bucket", VIP, change)
    assert cli.well("bucket", VIP) == held


def test_a_vip_that_is_not_shared(cli: Commands) -> None:
    for words in ((), ("+1",)):
        err = cli.refused(1, "bucket", "10.9.0.7", *words)
        assert "10.9.0.7 is not shared here\n  cure: VIPs of this host: 10.9.0.100" in err


@pytest.mark.parametrize("vip", ["nonsense", "10.9.0", "10.9.0.100/32", "2001:db8:::1"])
def test_what_is_no_vip(cli: Commands, vip: str) -> None:
    assert f"VIP {vip} is not an IP address" in cli.refused(2, "bucket", vip)
