"""`clusterip iptables` end to end: in force, listed, counted, deleted, and refused."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest

from clusterip import bucket
from tests.bpf.frames import plain_frame
from tests.cli.conftest import Commands, Process
from tests.namespaces import ip, send, tc
from tests.served import until

VIP = "10.9.0.100"
TARGET = (
    "-j CLUSTERIP --new --hashmode sourceip-sourceport --clustermac 01:00:5E:00:00:20"
    " --total-nodes 4 --local-node 1 --hash-init 1234"
)
FIRST = f"-A INPUT -d {VIP}/32 -i eth0 -p udp {TARGET}"
JOINED = f"-A INPUT -d {VIP}/32 -i eth0 -p icmp -j CLUSTERIP"
WEB = f"-A INPUT -d {VIP}/32 -i eth0 -p tcp -m tcp --dport 80 -j CLUSTERIP"
SECOND = (
    "-A INPUT -d 10.9.0.101/32 -i wire -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:21 --total-nodes 256 --local-node 0 --hash-init 4294967295"
    " --manage-address"
)
ROUND = (
    FIRST,
    JOINED,
    WEB,
    f"-A INPUT ! -s 192.0.2.0/24 -d {VIP}/32 -i eth0 ! -p tcp -j CLUSTERIP",
    f"-A INPUT -d {VIP}/32 -i eth0 -p tcp -m multiport ! --dports 80,443,8000:8080 -j CLUSTERIP",
    SECOND,
)


def listed(cli: Commands) -> list[str]:
    policy, *rules = cli.iptables("-S").splitlines()
    assert policy == "-P INPUT ACCEPT"
    return rules


def test_what_s_prints_can_be_fed_back(cli: Commands) -> None:
    before = cli.everything()
    for line in ROUND:
        assert cli.iptables(line) == ""
    assert listed(cli) == list(ROUND)
    there = cli.everything()
    cli.iptables("-F")
    assert cli.everything() == before
    for line in ROUND:
        cli.iptables(line)
    assert cli.everything()[0] == there[0]
    cli.iptables("-F INPUT")
    assert cli.everything() == before


def test_as_it_was_typed_in_2010(cli: Commands) -> None:
    cli.iptables(
        f"-A INPUT -p tcp -d {VIP} -i eth0 --dport 80 -j CLUSTERIP --new --hashmode"
        " sourceip-sourceport --clustermac 01:00:5e:00:00:20 --total-nodes 3 --local-node 1"
        " --hash-init 1234"
    )
    (line,) = listed(cli)
    assert line == (
        f"-A INPUT -d {VIP}/32 -i eth0 -p tcp -m tcp --dport 80 -j CLUSTERIP --new"
        " --hashmode sourceip-sourceport --clustermac 01:00:5E:00:00:20 --total-nodes 3"
        " --local-node 1 --hash-init 1234"
    )


def test_insert(cli: Commands) -> None:
    cli.iptables(FIRST)
    cli.iptables(JOINED.replace("-A INPUT", "-I INPUT"))
    cli.iptables(WEB.replace("-A INPUT", "-I INPUT 2"))
    assert listed(cli) == [JOINED, WEB, FIRST]


def test_several_at_once(cli: Commands) -> None:
    both = FIRST.replace(f"{VIP}/32", f"{VIP},10.9.0.101")
    cli.iptables(both)
    assert listed(cli) == [FIRST, FIRST.replace(VIP, "10.9.0.101")]
    cli.iptables(both.replace("-A", "-D"))
    assert listed(cli) == []


def test_an_equal_rule_is_there_once(cli: Commands) -> None:
    cli.iptables(FIRST)
    before = cli.everything()
    cli.iptables(FIRST)
    cli.iptables(FIRST.replace("-A INPUT", "-I INPUT 1"))
    assert cli.everything() == before


def test_delete(cli: Commands) -> None:
    before = cli.everything()
    for line in (FIRST, JOINED, WEB):
        cli.iptables(line)
    cli.iptables(FIRST.replace("-A", "-D"))
    assert listed(cli) == [JOINED, WEB]
    cli.iptables("-D INPUT 2")
    assert listed(cli) == [JOINED]
    cli.iptables(JOINED.replace("-A", "-D"))
    assert cli.everything() == before


def test_check(cli: Commands) -> None:
    cli.iptables(FIRST)
    assert cli.iptables(FIRST.replace("-A", "-C")) == ""
    said = cli.refused(1, "iptables", *JOINED.replace("-A", "-C").split())
    assert "does a matching rule exist" in said


def test_numbers(cli: Commands) -> None:
    for line in (FIRST, JOINED):
        cli.iptables(line)
    assert cli.iptables("-S INPUT 2") == f"{JOINED}\n"
    assert "icmp" in cli.iptables("-L INPUT 2")
    for words in ("-S INPUT 3", "-L INPUT 3", "-D INPUT 3", "-Z INPUT 3"):
        said = cli.refused(1, "iptables", *words.split())
        assert "there is no rule number 3: the chain has 2" in said
    insert = JOINED.replace("-A INPUT", "-I INPUT 4").replace("icmp", "ah")
    assert "Index of insertion too big." in cli.refused(1, "iptables", *insert.split())


def test_list(cli: Commands) -> None:
    cli.iptables(FIRST)
    assert cli.iptables("-L -n").splitlines()[0] == "Chain INPUT (policy ACCEPT)"
    assert (
        cli.iptables("-L -n")
        .splitlines()[2]
        .endswith(
            "CLUSTERIP hashmode=sourceip-sourceport clustermac=01:00:5E:00:00:20 total_nodes=4"
            " local_node=1 hash_init=1234"
        )
    )
    assert cli.iptables("-L -n --line-numbers").splitlines()[2].startswith("1 ")


def packets(cli: Commands) -> list[tuple[int, int]]:
    """Return packets and bytes of each rule, as -L -v -x prints them."""
    lines = cli.iptables("-L -v -n -x").splitlines()[2:]
    return [(int(words[0]), int(words[1])) for words in map(str.split, lines)]


@pytest.mark.parametrize("xdp", ["auto", "off"])
def test_frames_are_counted(cli: Commands, xdp: str) -> None:
    cli.iptables(f"--xdp {xdp} {FIRST}")
    cli.iptables(JOINED)
    assert packets(cli) == [(0, 0), (0, 0)]
    vip = IPv4Address(VIP)
    frames = [plain_frame("192.0.2.7", port, vip, 53, 17) for port in range(1000, 1016)]
    echo = plain_frame("192.0.2.7", 0x0800, vip, 0, 1)
    other = plain_frame("192.0.2.7", 1000, vip, 80, 6)
    for frame in (*frames, echo, other):
        send(frame)
    size = sum(map(len, frames))
    until(lambda: packets(cli) == [(16, size), (1, len(echo))])
    counted = json.loads(cli.well("show", "--json"))["interfaces"][0]["verdicts"]
    assert counted["drop_no_rule"] == 1
    assert counted["accept_owned"] > 0
    assert counted["drop_not_owned"] > 0
    assert f"-c 16 {size} -j" in cli.iptables("-S -v")
    cli.iptables("-Z INPUT 1")
    assert packets(cli) == [(0, 0), (1, len(echo))]
    assert cli.iptables("-L -Z -v -n -x").splitlines()[3].split()[:2] == ["1", str(len(echo))]
    assert packets(cli) == [(0, 0), (0, 0)]
    send(echo)
    until(lambda: packets(cli)[1][0] == 1)
    cli.iptables("-Z")
    assert packets(cli) == [(0, 0), (0, 0)]


def test_counters_of_a_rule_stay_when_another_comes_and_goes(cli: Commands) -> None:
    cli.iptables(FIRST)
    send(plain_frame("192.0.2.7", 1, IPv4Address(VIP), 53, 17))
    until(lambda: packets(cli)[0][0] == 1)
    cli.iptables(JOINED.replace("-A INPUT", "-I INPUT"))
    assert [count for count, _ in packets(cli)] == [0, 1]
    cli.iptables("-D INPUT 1")
    assert [count for count, _ in packets(cli)] == [1]
    cli.iptables("-D INPUT 1")
    cli.iptables(FIRST)
    assert packets(cli) == [(0, 0)]


NEW = f"-A INPUT -d {VIP} -i eth0 {TARGET}"


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (NEW.replace("sourceip-sourceport", "bogus"), 2, 'Unknown hashmode "bogus"'),
        (NEW.replace("01:00:5E", "02:00:5E"), 2, "MAC has to be a multicast ethernet address"),
        (NEW.replace("01:00:5E:00:00:20", "01:00:5E"), 2, "Invalid MAC address specified"),
        (
            NEW.replace("nodes 4", "nodes 300"),
            2,
            'CLUSTERIP: bad value for option "--total-nodes", or out of range (1-256).',
        ),
        (NEW.replace("nodes 4", "nodes 0"), 2, "or out of range (1-256)"),
        (NEW.replace("node 1 ", "node 5 "), 2, "bad local_nodes[0] 5"),
        (NEW.replace("init 1234", "init 4294967296"), 2, "or out of range (0-4294967295)"),
        (NEW.replace("--hashmode sourceip-sourceport", ""), 2, "Invalid parameter combination"),
        (NEW.replace("--clustermac 01:00:5E:00:00:20", ""), 2, "Invalid parameter combination"),
        (NEW.replace("--total-nodes 4", ""), 2, "Invalid parameter combination"),
        (NEW.replace("--new", ""), 2, "Invalid parameter combination"),
        (NEW.replace(f"-d {VIP}", ""), 2, "Please specify destination IP"),
        (NEW.replace(VIP, "10.9.0.0/24"), 2, "Please specify destination IP"),
        (NEW.replace(VIP, "2001:db8::1"), 2, "must be an IPv4 address"),
        (NEW.replace("-i eth0", ""), 2, "Please specify an interface name"),
        (NEW.replace("eth0", "eth+"), 2, "Please specify an interface name"),
        (NEW.replace("eth0", "eth9"), 1, "there is no interface eth9"),
        (NEW.replace("eth0", "lo"), 1, "lo is not an Ethernet interface"),
        (NEW.replace("CLUSTERIP", "DROP"), 2, "target `DROP' is not CLUSTERIP"),
        (NEW.replace("INPUT", "FORWARD"), 2, "chain `FORWARD' has no CLUSTERIP rules"),
        (f"-t nat {NEW}", 2, "table `nat' has no CLUSTERIP rules"),
        (f"-o eth0 {NEW}", 2, "Can't use -o with INPUT"),
        (f"{NEW} --bogus", 2, "bogus"),
        (f"{NEW} extra", 2, "Bad argument `extra'"),
        (f"-m conntrack {NEW}", 2, "Couldn't load match `conntrack'"),
        (f"--xdp perhaps {NEW}", 2, 'Unknown xdp mode "perhaps"'),
        ("-P INPUT DROP", 2, "-P"),
        ("-N CHAIN", 2, "-N"),
        ("-A INPUT -D INPUT", 2, "Cannot use -D with -A"),
        ("-v", 2, "no command specified"),
        (f"-A INPUT -d {VIP} -i eth0 -j CLUSTERIP", 1, f"no config found for {VIP}, need 'new'"),
        (NEW.replace("-A", "-D"), 1, "does a matching rule exist"),
    ],
)
def test_refusals(cli: Commands, line: str, status: int, said: str) -> None:
    err = cli.refused(status, "iptables", *line.split())
    assert said in err
    assert "\n  cure: " in err


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--hashmode sourceip-sourceport", "--hashmode sourceip"),
        ("--clustermac 01:00:5E:00:00:20", "--clustermac 01:00:5E:00:00:21"),
        ("--total-nodes 4", "--total-nodes 5"),
        ("--local-node 1", "--local-node 2"),
        ("--hash-init 1234", "--hash-init 1235"),
    ],
)
def test_other_parameters_for_a_vip(cli: Commands, old: str, new: str) -> None:
    cli.iptables(FIRST)
    err = cli.refused(1, "iptables", *FIRST.replace("udp", "tcp").replace(old, new).split())
    assert f"{new.removeprefix('--')} instead of {old.split()[1]}".lower() in err


def test_a_vip_on_another_interface(cli: Commands) -> None:
    cli.iptables(FIRST)
    err = cli.refused(1, "iptables", *FIRST.replace("eth0", "wire").split())
    assert f"{VIP} is shared on eth0 already" in err


def test_a_foreign_filter_in_the_way(cli: Commands) -> None:
    tc("qdisc add dev eth0 clsact")
    tc("filter add dev eth0 egress prio 1 protocol ip u32 match u32 0 0")
    assert "a foreign u32 filter" in cli.refused(1, "iptables", *FIRST.split())
    tc("filter del dev eth0 egress")
    tc("filter add dev eth0 egress prio 5 protocol ip u32 match u32 0 0")
    before = cli.everything()
    cli.iptables(FIRST)
    cli.iptables("-F")
    assert cli.everything() == before


def test_xdp_required_where_there_is_none(cli: Commands) -> None:
    ip("link add br0 type bridge")
    line = f"--xdp require {FIRST.replace('eth0', 'br0')}"
    assert "XDP is required on br0" in cli.refused(1, "iptables", *line.split())
    assert ip("maddress show dev br0").count("static") == 0
    assert "clsact" not in tc("qdisc show dev br0")


def test_one_vip_of_a_list_is_refused_and_none_is_there(cli: Commands) -> None:
    cli.iptables(FIRST.replace(VIP, "10.9.0.101").replace("nodes 4", "nodes 5"))
    line = FIRST.replace(f"{VIP}/32", f"{VIP},10.9.0.101")
    assert "total-nodes 4 instead of 5" in cli.refused(1, "iptables", *line.split())


@pytest.mark.usefixtures("run_by_daemon")
def test_what_a_daemon_runs_is_neither_listed_nor_changed(cli: Commands) -> None:
    # No daemon runs it here, which `show` says.
    there = json.loads(cli("show", "--json").out)["interfaces"][0]
    rule = FIRST.removeprefix("-A INPUT ")
    other = rule.replace("eth0", "wire")
    cli.iptables(f"-A INPUT {other}")
    assert len(listed(cli)) == 1
    assert cli.iptables("-L INPUT 1 -n").count("\n") == 1
    for line in (
        f"-A INPUT {rule}",
        f"-I INPUT {rule}",
        f"-D INPUT {rule}",
        f"-C INPUT {rule}",
        f"-A INPUT --xdp off {rule}",
        f"-A INPUT {other.replace('10.9.0.100', '10.9.0.201')}",
    ):
        assert "eth0 is run by the daemon of cluster web" in cli.refused(
            1, "iptables", *line.split()
        )
    assert "no rule number 2" in cli.refused(1, "iptables", "-D", "INPUT", "2")
    cli.iptables("-Z")
    cli.iptables("-F")
    assert listed(cli) == []
    # What is left is not for -F to take.
    assert "eth0 is run by the daemon of cluster web" in cli.refused(1, "iptables", "-F")
    now = json.loads(cli("show", "--json").out)["interfaces"]
    for one in (there, *now):
        for vip in one["vips"]:
            del vip["lease_seconds"]
    assert now == [there]


@pytest.mark.usefixtures("run_by_daemon")
def test_which_for_what_a_daemon_runs(cli: Commands) -> None:
    packet = ("--src", "192.0.2.7", "--sport", "7", "--dport", "53", "--proto", "udp")
    said = json.loads(cli.well("which", "--vip", "10.9.0.200", *packet, "--json"))
    assert said["rule"] == 2
    assert said["bucket"] == bucket("sourceip", 4, 0, "192.0.2.7")
    assert said["held"] is (said["bucket"] in {2, 3})
    assert "given out by the daemon of cluster web" in cli.refused(1, "bucket", "10.9.0.200", "+1")
    assert cli.well("bucket", "10.9.0.200") == "2,3\n"


def test_the_managed_address(cli: Commands) -> None:
    before = cli.everything()
    cli.iptables(f"{FIRST} --manage-address")
    assert f"{VIP}/32" in ip("-4 address show dev eth0")
    cli.iptables(JOINED)
    cli.iptables("-D INPUT 1")
    assert f"{VIP}/32" not in ip("-4 address show dev eth0")
    cli.iptables("-F")
    assert cli.everything() == before


def test_no_colour_in_a_pipe(cli: Commands, process: Process) -> None:
    assert process("iptables", *FIRST.split()).returncode == 0
    for words in (("-S",), ("-L", "-v"), ("-A", "nonsense")):
        done = process("iptables", *words)
        assert "\x1b" not in done.stdout + done.stderr
    assert process("iptables", "-S").stdout == cli.iptables("-S")
