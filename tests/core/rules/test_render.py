"""Rules as text: the golden lines of iptables, and that every line reads back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import UsageError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, ServiceAction, Sharing
from clusterip.core.packets.state import Chain, Entry, InterfaceState
from clusterip.core.rules.grammar import Action, Command, parse
from clusterip.core.rules.render import list_rules, rule_line, scaled, table
from clusterip.core.rules.savefile import split
from tests.core.rules.strategies import rules

VIP = IPv4Address("10.9.0.100")
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 2)
NEW = Rule(VIP, "eth0", sharing=SHARING, local_node=1)
JOIN = Rule(
    VIP,
    "eth1",
    Match(
        6,
        source=IPv4Network("10.0.0.0/8"),
        source_negated=True,
        source_ports=(Ports("tcp", ((5, 10),), True),),
        destination_ports=(
            Ports("tcp", ((80, 80),)),
            Ports("multiport", ((80, 80), (443, 443), (1000, 2000))),
        ),
        either_ports=(Ports("multiport", ((7, 7),), True),),
    ),
)
ODD = Rule(VIP, "eth0", Match(200, protocol_negated=True), manage_address=True)
CHAIN = Chain(
    (
        InterfaceState(3, "eth0", entries=(Entry(1, 5, NEW), Entry(30, 6, ODD))),
        InterfaceState(4, "eth1", entries=(Entry(20, 5, JOIN),)),
    )
)
COUNTERS = {(3, 5): (123456, 99999), (4, 5): (7, 10_000_000_000)}
SHARED = (
    "CLUSTERIP hashmode=sourceip clustermac=01:00:5E:00:00:20"
    " total_nodes=2 local_node=1 hash_init=0"
)
PORTS = "tcp spts:!5:10 dpt:80 multiport dports 80,443,1000:2000 multiport ports  !7"


def test_rule_line() -> None:
    assert rule_line(NEW) == (
        "-A INPUT -d 10.9.0.100/32 -i eth0 -j CLUSTERIP --new --hashmode sourceip"
        " --clustermac 01:00:5E:00:00:20 --total-nodes 2 --local-node 1 --hash-init 0"
    )
    assert rule_line(JOIN) == (
        "-A INPUT ! -s 10.0.0.0/8 -d 10.9.0.100/32 -i eth1 -p tcp -m tcp ! --sport 5:10 --dport 80"
        " -m multiport --dports 80,443,1000:2000 -m multiport ! --ports 7 -j CLUSTERIP"
    )
    assert rule_line(ODD) == (
        "-A INPUT -d 10.9.0.100/32 -i eth0 ! -p 200 -j CLUSTERIP --manage-address"
    )


def test_rule_line_of_a_service() -> None:
    ssh = Rule(VIP, "eth0", Match(6), SHARING, action=ServiceAction.SINGLE, bucket=2)
    assert rule_line(ssh) == (
        "-A INPUT -d 10.9.0.100/32 -i eth0 -p tcp -j CLUSTERIP --action single --bucket 2"
    )
    drop = Rule(VIP, "eth0", Match(6), SHARING, 0, True, ServiceAction.DROP)
    assert rule_line(drop) == (
        "-A INPUT -d 10.9.0.100/32 -i eth0 -p tcp -j CLUSTERIP --action drop --manage-address"
    )
    # Only the file has these: no command makes them.
    for line in (rule_line(ssh), rule_line(drop)):
        with pytest.raises(UsageError, match="--action"):
            parse(line.split())


def test_rule_line_of_the_old_target() -> None:
    line = (
        "-A INPUT -d 10.9.0.100/32 -i eth0 -p udp -j CLUSTERIP --new"
        " --hashmode sourceip-sourceport --clustermac 01:00:5E:00:00:20"
        " --total-nodes 4 --local-node 1 --hash-init 1234"
    )
    assert rule_line(parse(line.split()).rules[0]) == line


@given(rules())
def test_a_line_reads_back(rule: Rule) -> None:
    assert parse(split(rule_line(rule))) == Command(Action.APPEND, (rule,))


@given(rules(), st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
def test_a_line_with_counters_reads_back(rule: Rule, count: tuple[int, int]) -> None:
    command = parse(split(rule_line(rule, count)))
    assert command == Command(Action.APPEND, (rule,), counters=count)


def test_list_rules() -> None:
    lines = [rule_line(rule) for rule in (NEW, JOIN, ODD)]
    assert list_rules(CHAIN) == "\n".join(["-P INPUT ACCEPT", *lines, ""])
    assert list_rules(CHAIN, number=2) == f"{lines[1]}\n"
    assert list_rules(CHAIN, number=9) == ""
    counted = list_rules(CHAIN, counters=COUNTERS, policy=(1, 2)).splitlines()
    assert counted[0] == "-P INPUT ACCEPT -c 1 2"
    assert " -i eth0 -c 123456 99999 -j CLUSTERIP --new" in counted[1]
    assert counted[3].endswith(" -c 0 0 -j CLUSTERIP --manage-address")


def test_table() -> None:
    assert table(CHAIN) == (
        "Chain INPUT (policy ACCEPT)\n"
        "target     prot opt source               destination         \n"
        f"CLUSTERIP  all  --  anywhere             10.9.0.100           {SHARED}\n"
        f"CLUSTERIP  tcp  -- !10.0.0.0/8           10.9.0.100           {PORTS} CLUSTERIP\n"
        "CLUSTERIP !200  --  anywhere             10.9.0.100           CLUSTERIP\n"
    )


def test_table_numeric_with_counts() -> None:
    text = table(CHAIN, COUNTERS, verbose=True, numeric=True, policy=(120_500, 34_000_000_000))
    assert text == (
        "Chain INPUT (policy ACCEPT 121K packets, 34G bytes)\n"
        " pkts bytes target     prot opt in     out     source               destination         \n"
        " 123K 99999 CLUSTERIP  0    --  eth0   *       0.0.0.0/0            10.9.0.100          "
        f" {SHARED}\n"
        "    7   10G CLUSTERIP  6    --  eth1   *      !10.0.0.0/8           10.9.0.100          "
        f" {PORTS} CLUSTERIP\n"
        "    0     0 CLUSTERIP !200  --  eth0   *       0.0.0.0/0            10.9.0.100          "
        " CLUSTERIP\n"
    )


def test_table_exact_and_numbered() -> None:
    lines = table(CHAIN, COUNTERS, verbose=True, exact=True, line_numbers=True).splitlines()
    assert lines[0] == "Chain INPUT (policy ACCEPT 0 packets, 0 bytes)"
    assert lines[1].startswith("num      pkts      bytes target     prot opt in     out     source")
    assert lines[2].startswith("1      123456    99999 CLUSTERIP  all  --  eth0   any     anywhere")
    assert lines[3].startswith("2           7 10000000000 CLUSTERIP  tcp  --  eth1   any    !10.0.")
    (line,) = table(CHAIN, number=2, line_numbers=True).splitlines()
    assert line.startswith("2    CLUSTERIP  tcp ")


def test_table_names_services() -> None:
    names = {(80, "tcp"): "http", (443, "tcp"): "https"}
    text = table(CHAIN, services=lambda port, protocol: names.get((port, protocol)))
    assert " tcp spts:!5:10 dpt:http multiport dports http,https,1000:2000 " in text
    numeric = table(CHAIN, numeric=True, services=lambda _port, _protocol: "wrong")
    assert "wrong" not in numeric


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "    0"),
        (99999, "99999"),
        (100000, " 100K"),
        (9_999_499, "9999K"),
        (9_999_500, "  10M"),
        (9_999_499_499, "9999M"),
        (9_999_500_000, "  10G"),
        (2**63, "9223372T"),
    ],
)
def test_scaled(value: int, text: str) -> None:
    assert scaled(value) == text
