"""The rule grammar: every refusal, with its words."""

from __future__ import annotations

import pytest

from tests.core.rules.lines import HEAD, LIST, NEW, fault


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--new", "CLUSTERIP target: Invalid parameter combination"),
        ("--total-nodes 4", "CLUSTERIP target: Invalid parameter combination"),
        (NEW.replace("--new ", ""), "CLUSTERIP target: Invalid parameter combination"),
        (f"{NEW} --hashmode sourceip", 'CLUSTERIP: option "--hashmode" can only be used once.'),
        ("-m comment --comment 'a\nb'", "a comment is one line"),
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
