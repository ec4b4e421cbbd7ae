"""The rule grammar: what is read, and every refusal with its words."""

from __future__ import annotations

import shlex
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import UsageError
from clusterip.core.hashing import HashMode
from clusterip.core.model import Mac, Match, Ports, Rule, Sharing
from clusterip.core.rules import Action, Command, parse
from clusterip.core.state import XdpMode

VIP = IPv4Address("10.9.0.100")
SHARING = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), 4)
HEAD = "-A INPUT -d 10.9.0.100 -i eth0"
NEW = "--new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --total-nodes 4"
RULE = f"{HEAD} -j CLUSTERIP {NEW} --local-node 1"
LIST = "-m multiport --dports"


def read(line: str) -> Command:
    return parse(shlex.split(line))


def one(line: str) -> Rule:
    (rule,) = read(line).rules
    return rule


def fault(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(line)
    assert caught.value.exit_status == 2
    assert caught.value.cure
    return caught.value.message


def services(name: str, protocol: str) -> int | None:
    return {("http", "tcp"): 80, ("domain", "udp"): 53, ("domain", "tcp"): 53}.get((name, protocol))


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--new", "CLUSTERIP target: Invalid parameter combination"),
        ("--total-nodes 4", "CLUSTERIP target: Invalid parameter combination"),
        (NEW.replace("--new ", ""), "CLUSTERIP target: Invalid parameter combination"),
        (f"{NEW} --hashmode sourceip", 'CLUSTERIP: option "--hashmode" can only be used once.'),
        ("--new --new", 'CLUSTERIP: option "--new" can only be used once.'),
        ("! --new", 'CLUSTERIP: option "--new" cannot be inverted.'),
        ("--new=3", 'unknown option "--new=3"'),
        ("--hashmode bogus", 'Unknown hashmode "bogus"'),
        ("--hashmode", 'option "--hashmode" requires an argument'),
        ("--clustermac 00:11:22:33:44:55", "MAC has to be a multicast ethernet address"),
        ("--clustermac bogus", "Invalid MAC address specified: `bogus'"),
        ("--clustermac 01-00-5e-00-00-20", "Invalid MAC address specified: `01-00-5e-00-00-20'"),
        *(
            (
                f"--total-nodes {bad}",
                'CLUSTERIP: bad value for option "--total-nodes", or out of range (1-256).',
            )
            for bad in ("0", "257", "x", "-1", "08", "''", "1_0", "99999999999999999999999999")
        ),
        *(
            (
                f"--local-node {bad}",
                'CLUSTERIP: bad value for option "--local-node", or out of range (0-256).',
            )
            for bad in ("257", "1,2", "None")
        ),
        *(
            (
                f"--hash-init {bad}",
                'CLUSTERIP: bad value for option "--hash-init", or out of range (0-4294967295).',
            )
            for bad in ("4294967296", "abc", "0x")
        ),
        (f"{NEW} --local-node 5", "bad local_nodes[0] 5: --local-node is above --total-nodes 4"),
        ("--hash 5", "option '--hash' is ambiguous; possibilities: '--hashmode' '--hash-init'"),
        ("--bogus", 'unknown option "--bogus"'),
        ("--xdp maybe", 'Unknown xdp mode "maybe"'),
        ("--xdp off --xdp off", "multiple --xdp flags not allowed"),
        ("! --manage-address", "cannot have ! before --manage-address"),
    ],
)
def test_target_refusals(words: str, message: str) -> None:
    assert fault(f"{HEAD} -j CLUSTERIP {words}") == message


def test_hash_init_forms() -> None:
    for word, value in (("0x10", 16), ("4294967295", 0xFFFFFFFF), ("010", 8)):
        sharing = one(f"{RULE} --hash-init {word}").sharing
        assert sharing is not None
        assert sharing.hash_init == value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-p bogus", 'unknown protocol "bogus" specified'),
        ("-p 256", 'unknown protocol "256" specified'),
        ("-p tcp -p udp", "multiple -p flags not allowed"),
        ("-s 1.1.1.1 -s 2.2.2.2", "multiple -s flags not allowed"),
        ("-i eth1", "multiple -i flags not allowed"),
        ("-d 1.1.1.1", "multiple -d flags not allowed"),
        ("! -p all", "rule would never match protocol"),
        ("-s 1.1.1.1/33", "invalid mask `33' specified"),
        ("-s 1.1.1.1/", "invalid mask `' specified"),
        ("-s 1.1.1.1/255.0", "invalid mask `255.0' specified"),
        ("-s 1.1.1.1/255.0.255.0", "invalid mask `255.0.255.0' specified"),
        ("-s 1.2.3.256", "host/network `1.2.3.256' not found"),
        ("-s 1.2.3.4.5", "host/network `1.2.3.4.5' not found"),
        ("-s 1.2.3.4/8/8", "host/network `1.2.3.4/8' not found"),
        ("-s ::1", "host/network `::1' not found"),
        ("-s 1.1.1.1,", "host/network `' not found"),
        ("-s no.such.host", "host/network `no.such.host' not found"),
        ("! -s 1.1.1.1,2.2.2.2", "! not allowed with multiple source or destination IP addresses"),
        ("--dport 80", 'unknown option "--dport"'),
        ("--dport 80 -p tcp", 'unknown option "--dport"'),
        ("-p icmp --dport 80", 'unknown option "--dport"'),
        ("-p udplite --dport 80", 'unknown option "--dport"'),
        ("-p tcp --dports 80", 'unknown option "--dports"'),
        ("-m tcp --dport 80", "`-m tcp' needs `-p tcp'"),
        ("-p udp -m tcp --dport 80", "`-m tcp' needs `-p tcp'"),
        ("! -p tcp --dport 80", "`-m tcp' needs `-p tcp'"),
        ("-p tcp --dport x", "invalid port/service `x' specified"),
        ("-p tcp --dport ''", "invalid port/service `' specified"),
        ("-p tcp --dport 5,6", "invalid port/service `5,6' specified"),
        ("-p tcp --dport ! 5", "invalid port/service `!' specified"),
        ("-p tcp --dport 70000", "invalid port/service `70000' specified"),
        ("-p tcp --dport 10:5", "invalid portrange (min > max)"),
        ("-p tcp --dport 5 --dport 6", "Only one `--destination-port' allowed"),
        ("-p tcp --syn", "the tcp match's --syn is not supported"),
        (
            f"{LIST} 80",
            _NEEDS := "multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'",
        ),
        (f"{LIST} 80 -p tcp", _NEEDS),
        (f"-p icmp {LIST} 80", "multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP"),
        (f"! -p tcp {LIST} 80", "multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP"),
        (f"-p tcp {LIST} 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "too many ports specified"),
        (f"-p tcp {LIST} 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16", "too many ports specified"),
        (f"-p tcp {LIST} 5:5", "invalid portrange specified"),
        (f"-p tcp {LIST} :5", "invalid port/service `' specified"),
        (f"-p tcp {LIST} 5,,6", "invalid port/service `' specified"),
        (
            f"-p tcp {LIST} 5 --dports 6",
            'multiport: option "--destination-ports" can only be used once.',
        ),
        (
            f"-p tcp {LIST} 5 --sports 6",
            (
                'multiport: option "--source-ports" cannot be used together with'
                ' "--destination-ports".'
            ),
        ),
        ("-p tcp -m multiport", "multiport expects an option"),
        ("-m state", "Couldn't load match `state'"),
        ("-m udplite", "Couldn't load match `udplite'"),
        ("! -m tcp", "unexpected ! flag before --match"),
        ("-j CLUSTERIP", "multiple -j flags not allowed"),
        ("! -j CLUSTERIP", "multiple -j flags not allowed"),
        ("-g foo", "option -g is not supported"),
        ("-f", "option -f is not supported"),
        ("-o eth1", "Can't use -o with INPUT"),
        ("-6", "option -6 is not supported"),
        ("-q", 'unknown option "-q"'),
        ("-n", "Illegal option `-n' with this command"),
        ("--line-numbers", "Illegal option `--line-numbers' with this command"),
        ("-c 1", "-c requires packet and byte counter"),
        ("-c 1 x", "-c byte counter not numeric"),
        ("-c x 1", "-c packet counter not numeric"),
        ("foo", "Bad argument `foo'"),
        ("-", "Bad argument `-'"),
        ("-- foo", "unknown arguments found on commandline"),
        ("! ! -p tcp", "multiple consecutive ! not allowed"),
        ("!", "nothing appropriate following !"),
        ("! -v", "cannot have ! before -v"),
        ("-p", 'option "-p" requires an argument'),
        ("-w x", "wait seconds not numeric"),
        ("-w -W x", "wait interval not numeric"),
        ("-W 5", "--wait-interval only makes sense with --wait"),
        ("-t nat", "table `nat' has no CLUSTERIP rules"),
        ("-A INPUT", "Cannot use -A with -A"),
        ("-L", "Cannot use -L with -A"),
    ],
)
def test_refusals(words: str, message: str) -> None:
    assert fault(f"{HEAD} -j CLUSTERIP {words}") == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no command specified"),
        ("-v", "no command specified"),
        ("-A INPUT -i eth0 -j CLUSTERIP", "Please specify destination IP"),
        ("-A INPUT -i eth0 -d 10.9.0.0/24 -j CLUSTERIP", "Please specify destination IP"),
        ("-A INPUT -i eth0 -d 0.0.0.0 -j CLUSTERIP", "Please specify destination IP"),
        ("-A INPUT -d 10.9.0.100 -j CLUSTERIP", "Please specify an interface name"),
        (
            "-A INPUT -d 2001:db8::1 -i eth0 -j CLUSTERIP",
            "VIP `2001:db8::1' must be an IPv4 address in this version",
        ),
        (
            "-A INPUT -d www.example -i eth0 -j CLUSTERIP",
            "VIP `www.example' must be an IPv4 address in this version",
        ),
        (
            "-A INPUT -d 10.9.0.100 -i eth+ -j CLUSTERIP",
            "interface `eth+' is a wildcard: Please specify an interface name",
        ),
        (
            "-A INPUT -d 10.9.0.100 -i '' -j CLUSTERIP",
            "Empty interface is likely to be undesired",
        ),
        (
            "-A INPUT -d 10.9.0.100 -i abcdefghijklmnop -j CLUSTERIP",
            "interface name `abcdefghijklmnop' must be shorter than IFNAMSIZ (15)",
        ),
        (
            "-A INPUT -d 10.9.0.100 -i 'a b' -j CLUSTERIP",
            "interface name `a b' has a character that the kernel does not allow",
        ),
        ("-A INPUT -d 10.9.0.100 ! -i eth0 -j CLUSTERIP", "cannot have ! before -i"),
        ("-A INPUT ! -d 10.9.0.100 -i eth0 -j CLUSTERIP", "cannot have ! before -d"),
        (HEAD, "no target: the rule must say `-j CLUSTERIP'"),
        (f"{HEAD} -j ACCEPT", "target `ACCEPT' is not CLUSTERIP"),
        (f"{HEAD} ! -j CLUSTERIP", "cannot have ! before -j"),
        (f"{HEAD} --new -j CLUSTERIP", "command --new is not supported"),
        (f"{HEAD} --hash-init 5 -j CLUSTERIP", 'unknown option "--hash-init"'),
        ("-A FORWARD -d 1.1.1.1 -i eth0 -j CLUSTERIP", "chain `FORWARD' has no CLUSTERIP rules"),
        ("-L input", "chain `input' has no CLUSTERIP rules"),
        ("-nLv", "chain `v' has no CLUSTERIP rules"),
        ("-A '' INPUT", "chain `' has no CLUSTERIP rules"),
        ("! -L", "unexpected '!' flag"),
        ("-N foo", "command -N is not supported"),
        ("-X", "command -X is not supported"),
        ("-P INPUT DROP", "command -P is not supported"),
        ("-R INPUT 1", "command -R is not supported"),
        ("-E a b", "command -E is not supported"),
        ("-h", "option -h is not supported"),
        ("-V", "option -V is not supported"),
        ("-Z -F", "Cannot use -F with -Z"),
        ("-L -S", "Cannot use -S with -L"),
        ("-L -Z -F", "Cannot use -F with -L"),
        ("-L INPUT 1 -Z", "a rule number cannot go with -L and -Z together"),
        ("-D INPUT 0", "Invalid rule number `0'"),
        ("-L INPUT x", "Invalid rule number `x'"),
        ("-F INPUT 1", "Bad argument `1'"),
        ("-L -p tcp", "Illegal option `-p' with this command"),
        ("-L -m tcp", "Illegal option `-m' with this command"),
        ("-D INPUT 1 -j CLUSTERIP", "Illegal option `-j' with this command"),
        ("-L --xdp off", "Illegal option `--xdp' with this command"),
        ("-S -n", "Illegal option `-n' with this command"),
        ("-L -n -n", "multiple -n flags not allowed"),
        (f"-C {HEAD[3:]} -c 1 2 -j CLUSTERIP", "Illegal option `-c' with this command"),
        (
            "--l",
            "option '--l' is ambiguous; possibilities: '--list' '--list-rules' '--line-numbers'",
        ),
        ("--=5", 'unknown option "--"'),
        ("-vq", 'unknown option "-vq"'),
    ],
)
def test_refused_lines(line: str, message: str) -> None:
    assert fault(line) == message


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
