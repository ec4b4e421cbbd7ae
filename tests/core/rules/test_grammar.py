"""The rule grammar: what is read, and what it means."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import UsageError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.packets.state import XdpMode
from clusterip.core.rules.grammar import Action, Command, parse
from tests.core.rules.lines import HEAD, LIST, NEW, RULE, SHARING, VIP, one, read, services


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (RULE, Rule(VIP, "eth0", sharing=SHARING, local_node=1)),
        (f"{HEAD} -j CLUSTERIP", Rule(VIP, "eth0")),
        (
            (
                "-A INPUT -d 10.9.0.100/32 -i eth0 -p udp -j CLUSTERIP --new --hashmode"
                " sourceip-sourceport --clustermac 01:00:5E:00:00:20 --total-nodes 4"
                " --local-node 1 --hash-init 1234"
            ),
            Rule(
                VIP,
                "eth0",
                Match(17),
                Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), 4, 1234),
                1,
            ),
        ),
        (f"{HEAD} -j CLUSTERIP {NEW}", Rule(VIP, "eth0", sharing=SHARING)),
        (f"{HEAD} -j CLUSTERIP {NEW} --local-node none", Rule(VIP, "eth0", sharing=SHARING)),
        (f"{HEAD} -j CLUSTERIP {NEW} --local-node 0", Rule(VIP, "eth0", sharing=SHARING)),
        (f"{HEAD} -j CLUSTERIP --manage-address", Rule(VIP, "eth0", manage_address=True)),
    ],
)
def test_rule(line: str, rule: Rule) -> None:
    assert read(line) == Command(Action.APPEND, (rule,))


@pytest.mark.parametrize(
    "line",
    [
        (
            "-j CLUSTERIP --new --total-nodes 4 --clustermac 1:0:5e:0:0:20 --hashmode sourceip"
            " --local-node 1 -i eth0 -d 10.9.0.100 -A INPUT"
        ),
        (
            "--append=INPUT --destination=10.9.0.100/255.255.255.255 --in-interface=eth0"
            " --jump=CLUSTERIP --new --hashmode=sourceip --clustermac=01:00:5E:00:00:20"
            " --total-nodes=0x4 --local-node=01 --hash-init=0"
        ),
        (
            "-AINPUT -d10.9.0.100 -ieth0 -jCLUSTERIP --new --hashm sourceip --cl 01:00:5e:00:00:20"
            " --to 4 --loc 1"
        ),
        (
            "-t filter -w 5 -W 1000 -4 --tab filter --wait=1.5 -A INPUT --dst 10.9.0.100 "
            "--in-i eth0 -p all -s 0/0 -v -j CLUSTERIP --new --hashmode sourceip"
            " --clustermac 01:00:5e:00:00:20 --total-nodes 4 --local-node 1"
        ),
    ],
)
def test_same_rule_written_otherwise(line: str) -> None:
    assert read(line).rules == read(RULE).rules


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("-p TCP", Match(6)),
        ("-p 0x6", Match(6)),
        ("-p 200", Match(200)),
        ("-p 0", Match()),
        ("--proto esp", Match(50)),
        ("-p icmpv6", Match(58)),
        ("! -p udplite", Match(136, protocol_negated=True)),
        ("-s 10.1.2.3/8", Match(source=IPv4Network("10.0.0.0/8"))),
        ("-s 10.1/16", Match(source=IPv4Network("10.1.0.0/16"))),
        ("--src 1.2.3.4/255.255.255.0", Match(source=IPv4Network("1.2.3.0/24"))),
        ("! -s 9.9.9.9", Match(source=IPv4Network("9.9.9.9/32"), source_negated=True)),
        ("-s any/0", Match()),
        ("! -s 0/0", Match(source_negated=True)),
        ("-p tcp --dport 80", Match(6, destination_ports=(Ports("tcp", ((80, 80),)),))),
        ("-p udp -m udp --dport :80", Match(17, destination_ports=(Ports("udp", ((0, 80),)),))),
        ("-m tcp --sport 5: -p 6", Match(6, source_ports=(Ports("tcp", ((5, 65535),)),))),
        (
            "-p sctp ! --sport 1:2 ! --destination-port 3",
            Match(
                132,
                source_ports=(Ports("sctp", ((1, 2),), True),),
                destination_ports=(Ports("sctp", ((3, 3),), True),),
            ),
        ),
        ("-p dccp --dport 010", Match(33, destination_ports=(Ports("dccp", ((8, 8),)),))),
        ("-p tcp -m tcp", Match(6, destination_ports=(Ports("tcp", ((0, 65535),)),))),
        ("-p tcp --dport :", Match(6, destination_ports=(Ports("tcp", ((0, 65535),)),))),
        (
            "-p tcp --dport : --sport 5 -m tcp",
            Match(6, source_ports=(Ports("tcp", ((5, 5),)),)),
        ),
        (
            f"-p tcp {LIST} 80,443,1000:2000",
            Match(
                6,
                destination_ports=(Ports("multiport", ((80, 80), (443, 443), (1000, 2000))),),
            ),
        ),
        # Only multiport is loaded, so --dport is --dports cut short, as in iptables.
        (
            "-p tcp -m multiport --dport 5,6",
            Match(6, destination_ports=(Ports("multiport", ((5, 5), (6, 6))),)),
        ),
        (
            "-p tcp -m multiport ! --ports 5 -m multiport --sports 6 -m tcp --sport 7",
            Match(
                6,
                source_ports=(Ports("tcp", ((7, 7),)), Ports("multiport", ((6, 6),))),
                either_ports=(Ports("multiport", ((5, 5),), True),),
            ),
        ),
    ],
)
def test_match(words: str, match: Match) -> None:
    assert one(f"{HEAD} {words} -j CLUSTERIP").match == match


def test_services() -> None:
    line = f"{HEAD} -p tcp --dport http:100 -m multiport --dports domain,http -j CLUSTERIP"
    (rule,) = parse(line.split(), services).rules
    assert rule.match.destination_ports == (
        Ports("tcp", ((80, 100),)),
        Ports("multiport", ((53, 53), (80, 80))),
    )
    with pytest.raises(UsageError, match="invalid port/service `http' specified"):
        parse(f"{HEAD} -p udp --dport http -j CLUSTERIP".split(), services)


def test_lists_of_addresses() -> None:
    command = read("-A INPUT -s 1/8,2/8 -d '10.0.0.1, 10.0.0.2' -i eth0 -j CLUSTERIP")
    pairs = [(str(rule.match.source), str(rule.vip)) for rule in command.rules]
    assert pairs == [
        ("1.0.0.0/8", "10.0.0.1"),
        ("1.0.0.0/8", "10.0.0.2"),
        ("2.0.0.0/8", "10.0.0.1"),
        ("2.0.0.0/8", "10.0.0.2"),
    ]
    # Each is inserted at the same place, before the one that was inserted there first.
    inserted = read("-I INPUT 2 -s 1/8,2/8 -d 10.0.0.1,10.0.0.2 -i eth0 -j CLUSTERIP")
    assert inserted.number == 2
    assert inserted.rules == command.rules[::-1]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("-L", Command(Action.LIST)),
        ("-nvL", Command(Action.LIST, numeric=True, verbose=1)),
        ("-vvnL INPUT", Command(Action.LIST, numeric=True, verbose=2)),
        ("-nLINPUT", Command(Action.LIST, numeric=True)),
        (
            "-L INPUT 3 -x --line-numbers",
            Command(Action.LIST, number=3, exact=True, line_numbers=True),
        ),
        ("--list --line -v", Command(Action.LIST, line_numbers=True, verbose=1)),
        ("-S", Command(Action.LIST_RULES)),
        ("--list-rules=INPUT 2 -v", Command(Action.LIST_RULES, number=2, verbose=1)),
        ("-F", Command(Action.FLUSH)),
        ("--flush INPUT -v", Command(Action.FLUSH, verbose=1)),
        ("-Z", Command(Action.ZERO)),
        ("-Z INPUT 0x2", Command(Action.ZERO, number=2)),
        ("-L -Z", Command(Action.LIST, zero=True)),
        ("-Z -S INPUT", Command(Action.LIST_RULES, zero=True)),
        ("-w -D INPUT 7", Command(Action.DELETE, number=7)),
        ("--delete INPUT 7 -W 5 -w", Command(Action.DELETE, number=7)),
    ],
)
def test_command(line: str, command: Command) -> None:
    assert read(line) == command


@pytest.mark.parametrize(
    ("verb", "action"), [("-D", Action.DELETE), ("-C", Action.CHECK), ("--ins", Action.INSERT)]
)
def test_verbs_with_a_rule(verb: str, action: Action) -> None:
    assert read(RULE.replace("-A", verb)) == Command(action, read(RULE).rules)


def test_counters() -> None:
    for words in ("-c 12 34", "--set-counters 12,0x22", "-c12,34"):
        assert read(f"{HEAD} {words} -j CLUSTERIP").counters == (12, 34)


def test_extensions() -> None:
    assert read(f"{HEAD} -j CLUSTERIP --xdp require").xdp is XdpMode.REQUIRE
    assert read(f"--xdp=off {HEAD} -j CLUSTERIP").xdp is XdpMode.OFF
    assert one(f"--manage {HEAD} -j CLUSTERIP").manage_address
    # A shortened option of iptables keeps its meaning.
    assert one(f"{HEAD} --ma tcp -p tcp -j CLUSTERIP").match.destination_ports


def test_hash_init_forms() -> None:
    for word, value in (("0x10", 16), ("4294967295", 0xFFFFFFFF), ("010", 8)):
        sharing = one(f"{RULE} --hash-init {word}").sharing
        assert sharing is not None
        assert sharing.hash_init == value


WORDS = (
    "-A -I -D -C -L -S -F -Z -N INPUT 1 ! -p tcp udp -pudp -m multiport --dport --dports --dp"
    " --ports 80 80:90 80,90 -s -d 10.0.0.1 10.0.0.1/32 -i eth0 -j CLUSTERIP --new --hashmode"
    " sourceip --clustermac 01:00:5e:00:00:20 --total-nodes --total=4 --local-node none -c 1,2"
    " -w -W -nvL -vx --xdp off --manage-address -- - --= -t filter"
)


@given(st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=5), max_size=20))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        command = parse(words)
    except UsageError:
        return
    assert command.action in Action


@given(st.permutations(("-d 10.9.0.100", "-i eth0", "-p tcp", "-s 1/8", "-A INPUT", "-v")))
def test_the_order_of_options_does_not_matter(parts: list[str]) -> None:
    words = " ".join([*parts, "-j CLUSTERIP"]).split()
    expected = Rule(VIP, "eth0", Match(6, source=IPv4Network("1.0.0.0/8")))
    assert parse(words) == Command(Action.APPEND, (expected,), verbose=1)
