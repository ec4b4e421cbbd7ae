"""The rule grammar against the iptables of this host, in a network namespace of its own.

The kernel may lack the CLUSTERIP target, so matches are compared with `-j ACCEPT`, and the target
through the parse errors of its userland extension.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clusterip.core.errors import UsageError
from clusterip.core.hashing import HashMode
from clusterip.core.model import Mac, Match, Rule, Sharing
from clusterip.core.render import list_rules, rule_line, table
from clusterip.core.rules import parse
from clusterip.core.state import Chain, Entry, InterfaceState
from tests.core.rule_strategies import interfaces, matches, vips

IPTABLES = "iptables-legacy"
VERSION = "iptables v1.8.9 (legacy)"
RESTORE = f"{IPTABLES}-restore"
HEAD = "-A INPUT -d 10.9.0.100/32 -i eth0"
NEW = "--new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --total-nodes 2 --local-node 1"


def missing() -> str:
    """Return why the comparison cannot run here, "" if it can."""
    if os.geteuid() != 0:
        return "not root: cannot make a network namespace"
    for program in (IPTABLES, RESTORE, "ip", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    version = subprocess.run([IPTABLES, "--version"], capture_output=True, text=True, check=False)
    if version.stdout.strip() != VERSION:
        return f"compares with {VERSION}, not {version.stdout.strip()}"
    return ""


@pytest.fixture(scope="module", autouse=True)
def namespace() -> Iterator[str]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    name = f"rules-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot make a network namespace: {made.stderr.strip()}")
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def run(namespace: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Not `ip netns exec`: it would mount a /sys of its own for each of the many calls.
        ["nsenter", f"--net=/run/netns/{namespace}", *words],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )


def install(namespace: str, lines: list[str]) -> None:
    """Replace the chain by these lines."""
    text = "\n".join(["*filter", "-F INPUT", *lines, "COMMIT", ""])
    done = run(namespace, RESTORE, "--noflush", "--counters", text=text)
    assert done.returncode == 0, done.stderr


def as_accept(text: str) -> str:
    """Return our output as the same rules with -j ACCEPT would print it."""
    text = re.sub(r"-j CLUSTERIP.*", "-j ACCEPT", text)
    text = re.sub(r" CLUSTERIP hashmode=.*| CLUSTERIP$", "", text, flags=re.MULTILINE)
    return text.replace("CLUSTERIP ", "ACCEPT    ")


def listed(namespace: str, *words: str) -> str:
    return run(namespace, IPTABLES, *words, "INPUT").stdout


def outcome(line: str) -> str:
    """Return our refusal of a command line, "" if it is taken."""
    return refusal(line.split(" "))


def refusal(words: list[str]) -> str:
    try:
        parse(words)
    except UsageError as error:
        return error.message
    return ""


def spoken(stderr: str) -> str:
    """Return the message of iptables without its name and its hints."""
    for line in stderr.splitlines():
        if line.startswith(f"{VERSION}: "):
            return line.removeprefix(f"{VERSION}: ")
        if not line.startswith(("Warning: ", "Ignoring deprecated ", "Try ")):
            return line
    return ""


# Each example is a batch, so few are drawn and none is shrunk.
BATCHES = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 2)
installed = st.builds(Rule, vips, interfaces, matches(lists=1), st.sampled_from([None, SHARING]))


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
    assert as_accept(table(chain, number=len(rules), numeric=True)) == listed_one(
        namespace, len(rules)
    )


def listed_one(namespace: str, number: int) -> str:
    return run(namespace, IPTABLES, "-n", "-L", "INPUT", str(number)).stdout


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


def test_inserting_lists(namespace: str) -> None:
    install(namespace, [])
    words = "-s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4 -i eth0 -j"
    run(namespace, IPTABLES, "-I", "INPUT", *words.split(), "ACCEPT")
    ours = parse(f"-I INPUT {words} CLUSTERIP".split()).rules
    assert [as_accept(rule_line(rule)) for rule in ours] == listed(namespace, "-S").splitlines()[1:]


REFUSED = [
    "-p bogus",
    "-p 256",
    "-p tcp -p udp",
    "-s 1.1.1.1 -s 2.2.2.2",
    "-i eth1",
    "! -p all",
    "--dport 80",
    "--dport 80 -p tcp",
    "-p udplite --dport 80 -p tcp",
    "-p tcp --dport 70000",
    "-p tcp --dport bogus",
    "-p tcp --dport 5,6",
    "-p tcp --dport 10:5",
    "-p tcp --dport ! 5",
    "-p tcp --dport 5 --dport 6",
    "-p tcp --dport",
    "-p tcp -m multiport --dports 5 --dports 6",
    "-p tcp -m multiport --dports 5 --sport 6",
    "-p tcp -m multiport --ports 5 --sports 6",
    "-m multiport --dports 5",
    "-m multiport --dports 5 -p tcp",
    "-p icmp -m multiport --dports 5",
    "! -p tcp -m multiport --dports 5",
    "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
    "-p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16",
    "-p tcp -m multiport --dports 5:5",
    "-p tcp -m multiport --dports 5:3",
    "-p tcp -m multiport --dports :5",
    "-p tcp -m multiport --dports 5:",
    "-p tcp -m multiport --dports 5,,6",
    "-p tcp -m multiport --dports 70000",
    "-s 10.0.0.1/33",
    "-s 10.0.0.1/255.0",
    "-s 10.0.0.1/08",
    "-s 10.0.0.1/",
    "-s 1.2.3.4/8/8",
    "-s 1.2.3./24",
    "! -s 1.1.1.1,2.2.2.2",
    "! ! -p tcp",
    "! -m tcp",
    "-p tcp !",
    "foo",
    "-",
    "-- foo",
    "-q",
    "-vq",
    "--bogus",
    "-o eth0",
    "-n",
    "-x",
    "-c 1",
    "-c 1 x",
    "-c x 1",
    "-w x",
    "-W 5",
    "-w -W x",
    "-A INPUT",
    "-L",
    "! -L",
    "-j CLUSTERIP",
    "! -j CLUSTERIP",
    "-p",
]


@pytest.mark.parametrize("words", REFUSED)
def test_refused_in_the_same_words(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j ACCEPT {words}".split())
    assert done.returncode != 0
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == spoken(done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        "-m tcp --dport 80",
        "-p udp -m tcp --dport 80",
        "! -p tcp --dport 80",
        "-p 200 -m multiport --ports 5",
        "-p tcp -m multiport",
        "-m state",
        "-m udplite",
        "-p tcp --p tcp",
        "--l",
        "--dest 1.1.1.1 -p tcp --dport 5 --dest 1.1.1.1",
    ],
)
def test_refused_in_other_words(namespace: str, words: str) -> None:
    assert run(namespace, IPTABLES, *f"{HEAD} -j ACCEPT {words}".split()).returncode != 0
    assert outcome(f"{HEAD} -j CLUSTERIP {words}")


@pytest.mark.parametrize(
    "line",
    [
        "-L -n -n",
        "-S -n",
        "-Z -n",
        "-L -p tcp",
        "-D INPUT 0",
        "-L INPUT x",
        "-D INPUT 1 -p tcp",
        "-Z -F",
        "-L -S",
        "-v",
        "-A",
        "-F INPUT 1",
        "-C INPUT -c 1 2 -d 1.1.1.1 -i eth0",
    ],
)
def test_commands_refused_in_the_same_words(namespace: str, line: str) -> None:
    done = run(namespace, IPTABLES, *line.split())
    assert done.returncode != 0
    assert outcome(line) == spoken(done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        "--new",
        NEW.removeprefix("--new "),
        "--hash-init 5",
        "--new --hashmode sourceip",
        "--new --hashmode bogus",
        "--new --hashmode=bogus",
        "--new --hashm bogus",
        "--new --clustermac 00:11:22:33:44:55",
        "--hash-init abc",
        "--hash-init 4294967296",
        "--new --new",
        "--new --hashmode sourceip --hashmode sourceip",
        "--new=3",
        "! --new",
        "--hashmode",
        "--bogus",
    ],
)
def test_target_refuses_in_the_same_words(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    assert done.returncode == 2
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == spoken(done.stderr)


@pytest.mark.parametrize(
    ("words", "range_here"),
    [("--total-nodes 257", "1-256"), ("--total-nodes x", "1-256"), ("--local-node 257", "0-256")],
)
def test_target_refuses_a_range(namespace: str, words: str, range_here: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    theirs = spoken(done.stderr)
    assert "(0-16)" in theirs
    assert outcome(f"{HEAD} -j CLUSTERIP {words}") == theirs.replace("0-16", range_here)


@pytest.mark.parametrize(
    "words",
    [
        "",
        NEW,
        f"{NEW} --hash-init 0x10",
        NEW.replace("--total-nodes", "--to").replace("--hashmode", "--hashm"),
        NEW.replace("01:00:5e:00:00:20", "1:0:5E:0:0:20"),
        NEW.replace("--total-nodes 2", "--total-nodes 0x2"),
        f"{NEW} -p tcp --dport 5",
    ],
)
def test_target_takes_the_same(namespace: str, words: str) -> None:
    done = run(namespace, IPTABLES, *f"{HEAD} -j CLUSTERIP {words}".split())
    # The command line is right: it is the kernel that has no such target or no such device.
    assert done.returncode in {0, 1}
    assert outcome(f"{HEAD} -j CLUSTERIP {words}".strip()) == ""
