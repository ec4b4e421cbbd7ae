"""What the rules mean and how they are listed, against the iptables of this host."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Match, Rule, Sharing
from clusterip.core.packets.state import Chain, Entry, InterfaceState
from clusterip.core.rules.chain import append, delete, find
from clusterip.core.rules.grammar import parse
from clusterip.core.rules.render import list_rules, rule_line, table
from tests.core.rules.iptables_peer import (
    HEAD,
    IPTABLES,
    NEW,
    as_accept,
    install,
    listed,
    namespace,
    refusal,
    run,
    spoken,
)
from tests.core.rules.strategies import comments, interfaces, matches, vips

__all__ = ["namespace"]
# Each example is a batch, so few are drawn and none is shrunk.
BATCHES = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 2)
installed = matches(lists=1).flatmap(
    lambda match: st.builds(
        Rule,
        vips,
        interfaces,
        st.just(match),
        st.sampled_from([None, SHARING]),
        comments=comments(match),
    )
)


def hidden(match: Match) -> bool:
    """Whether iptables shows a condition that is not there: it hides a negated 0:65535."""
    conditions = (*match.source_ports, *match.destination_ports)
    return any(one.negated and one.ranges == ((0, 65535),) for one in conditions)


@BATCHES
@given(st.lists(installed.filter(lambda rule: not hidden(rule.match)), min_size=1, max_size=40))
def test_listings_are_the_same(namespace: str, rules: list[Rule]) -> None:
    counts = [(place * 77_777, place**7) for place in range(len(rules))]
    lines = [
        f"[{packets}:{octets}] {as_accept(rule_line(rule))}"
        for rule, (packets, octets) in zip(rules, counts, strict=True)
    ]
    install(namespace, lines)
    entries = tuple(Entry(place, place, rule) for place, rule in enumerate(rules))
    chain = Chain((InterfaceState(1, "any", entries=entries),))
    counters = {(1, place): count for place, count in enumerate(counts)}

    assert as_accept(list_rules(chain)) == listed(namespace, "-S")
    line = re.compile(r" -j CLUSTERIP.*")
    ours = line.sub(" -j ACCEPT", list_rules(chain, counters=counters))
    assert ours == listed(namespace, "-v", "-S")
    assert as_accept(table(chain, numeric=True)) == listed(namespace, "-n", "-L")
    assert as_accept(
        table(chain, counters, verbose=True, numeric=True, line_numbers=True)
    ) == listed(namespace, "-n", "-v", "--line-numbers", "-L")
    assert as_accept(table(chain, counters, verbose=True, numeric=True, exact=True)) == listed(
        namespace, "-n", "-v", "-x", "-L"
    )
    assert as_accept(table(chain, number=len(rules), numeric=True)) == listed(
        namespace, "-n", "-L", str(len(rules))
    )


def test_every_protocol_by_name(namespace: str) -> None:
    rules = [Rule(IPv4Address("198.51.100.1"), "lo", Match(number)) for number in range(256)]
    install(namespace, [as_accept(rule_line(rule)) for rule in rules])
    entries = tuple(Entry(place, place, rule) for place, rule in enumerate(rules))
    chain = Chain((InterfaceState(1, "lo", entries=entries),))
    assert as_accept(list_rules(chain)) == listed(namespace, "-S")
    # Without -n iptables looks addresses up, which a namespace without a network cannot.
    assert as_accept(table(chain)) == listed(namespace, "-L")


def service_name(port: int, protocol: str) -> str | None:
    try:
        return socket.getservbyport(port, protocol)
    except OSError:
        return None


def service_port(name: str, protocol: str) -> int | None:
    try:
        return socket.getservbyname(name, protocol)
    except OSError:
        return None


def test_services_by_name(namespace: str) -> None:
    specs = (
        "-p tcp --dport ssh:http",
        "-p udp ! --sport domain",
        "-p sctp --dport 80",
        "-p tcp -m multiport --dports ssh,http:https,9",
    )
    parsed = [parse(f"{HEAD} {words} -j CLUSTERIP".split(), service_port) for words in specs]
    rules = [command.rules[0] for command in parsed]
    install(namespace, [f"{HEAD} {words} -j ACCEPT" for words in specs])
    entries = tuple(Entry(place, place, rule) for place, rule in enumerate(rules))
    chain = Chain((InterfaceState(1, "eth0", entries=entries),))
    assert as_accept(list_rules(chain)) == listed(namespace, "-S")
    ours = table(chain, verbose=True, services=service_name)
    assert as_accept(ours) == listed(namespace, "-v", "-L")


WRITTEN = [
    "-p TCP",
    "-p 06",
    "-p all",
    "-p ip",
    "-p icmpv6",
    "-p tcp -m tcp",
    "-p tcp --dport :",
    "-p tcp --dport 0:65535 --sport 0",
    "-p tcp --dport 010 --sport 0x50:",
    "-p tcp ! --sport 5:5 ! --destination-port :20",
    "-p 17 --dport 1",
    "-p sctp --dport 1 -m multiport --ports 5,6",
    "-p dccp -m dccp ! --sport 1:2",
    "-p tcp -m multiport --dport 5,6",
    "-p tcp -m tcp --sport 8 -m multiport --dports 9 --dport 10",
    "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "-p udplite -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14:16",
    "-m tcp --dport 5 -p tcp",
    "--pro tcp --dest 10.9.0.100 --dport 5",
    "-s 10.0.0.1/255.255.255.0",
    "-s 10/8,10.1/16",
    "-s 10.1",
    "-s 010.1.1.1/0x8",
    "! -s 1.2.3.4/0",
    "-s 0/0",
    "-s any/0",
    "-s 0.0.0.0",
    "-w 5 -W 100 -t filter -4",
    "-c 7 8",
    "-c 7,8",
    "-m comment --comment x",
    "-m comment --comm=a=b -p tcp --dport 80 -m comment --comment -x -m comment --comment !",
    "-p tcp --dport 80 -m comment --comment \x01\udcff\"'\\é",
    "-p tcp --sport 1 -m comment --comment x -m multiport --dports 8 -m comment --comment y",
    f"-m comment --comment {300 * 'x'}",
]


def test_what_is_written_in_other_ways(namespace: str) -> None:
    install(namespace, [])
    expected = ["-P INPUT ACCEPT"]
    for words in WRITTEN:
        head = HEAD if "--dest " not in words else "-A INPUT -i eth0"
        rules = parse(f"{head} {words} -j CLUSTERIP".split()).rules
        expected.extend(as_accept(rule_line(rule)) for rule in rules)
        done = run(namespace, IPTABLES, *f"{head} {words} -j ACCEPT".split())
        assert done.returncode == 0, (words, done.stderr)
    assert listed(namespace, "-S").splitlines() == expected


OCTET = "(0?[0-7]{1,2}|1[0-9]{2})"
ports = st.one_of(
    st.integers(0, 70000).map(str),
    st.tuples(*[st.integers(0, 70000)] * 2).map(lambda pair: "{}:{}".format(*sorted(pair))),
    st.text("0123456789:x", max_size=8),
)
options = st.one_of(
    st.tuples(st.sampled_from(["-p tcp --dport", "-p sctp ! --sport"]), ports),
    # Its udp and dccp matches take 65809 for 273; ours refuse what is not a port.
    st.tuples(
        st.sampled_from(["-p udp --dport", "-p dccp ! --sport"]),
        st.tuples(*[st.integers(0, 65535)] * 2).map(lambda pair: "{}:{}".format(*sorted(pair))),
    ),
    st.tuples(
        st.sampled_from(["-p tcp -m multiport --dports", "-p sctp -m multiport ! --ports"]),
        st.lists(ports, max_size=17).map(",".join),
    ),
    st.tuples(
        st.sampled_from(["-s", "! -s"]),
        st.one_of(
            # A number above 255, or 08, is a host name to iptables, which inet_aton(3) may resolve.
            st.text("012./", max_size=7).filter(lambda text: not re.search("[0-9]{3}", text)),
            st.from_regex(rf"{OCTET}(\.{OCTET}){{0,3}}(/[0-9]{{1,2}})?", fullmatch=True),
            st.from_regex(r"1(\.1){3}/255\.(255|128|0)\.0\.0(,2\.2\.2\.2)?", fullmatch=True),
        ),
    ),
    st.tuples(st.just("-p"), st.integers(0, 300).map(str) | st.text("0178xa", max_size=4)),
)


@BATCHES
@given(st.lists(options, min_size=1, max_size=20))
def test_random_values(namespace: str, batch: list[tuple[str, str]]) -> None:
    install(namespace, [])
    expected = ["-P INPUT ACCEPT"]
    for option, value in batch:
        words = [*HEAD.split(), *option.split(), value]
        done = run(namespace, IPTABLES, *words, "-j", "ACCEPT")
        line = [*words, "-j", "CLUSTERIP"]
        assert refusal(line) == spoken(done.stderr), words
        if done.returncode:
            continue
        rules = parse(line).rules
        if not hidden(rules[0].match):
            expected.extend(as_accept(rule_line(rule)) for rule in rules)
        else:
            run(namespace, IPTABLES, "-D", "INPUT", str(len(expected)))
    assert listed(namespace, "-S").splitlines() == expected


def test_comments_make_two_rules_of_one(namespace: str) -> None:
    install(namespace, [])
    chain = Chain()
    steps = ("-A", "-A a", "-A b", "-D b", "-D c", "-C a", "-D a", "-C a", "-C", "-D", "-C")
    for step in steps:
        letter, *comment = step.split()
        words = f"{letter} INPUT -d 10.9.0.100 -i eth0".split()
        if comment:
            words += ["-m", "comment", "--comment", *comment]
        theirs = run(namespace, IPTABLES, *words, "-j", "ACCEPT").returncode
        (rule,) = parse([*words, "-j", "CLUSTERIP", *NEW.split()]).rules
        if letter == "-A":
            chain = append(chain, rule, 2)
            continue
        assert (find(chain, rule) is not None) == (theirs == 0), step
        if letter == "-D" and not theirs:
            chain = delete(chain, rule)
        assert as_accept(list_rules(chain)) == listed(namespace, "-S"), step


def test_inserting_lists(namespace: str) -> None:
    install(namespace, [])
    words = "-s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -i eth0 -j"
    run(namespace, IPTABLES, "-I", "INPUT", *words.split(), "ACCEPT")
    ours = parse(f"-I INPUT {words} CLUSTERIP".split()).rules
    assert [as_accept(rule_line(rule)) for rule in ours] == listed(namespace, "-S").splitlines()[1:]
