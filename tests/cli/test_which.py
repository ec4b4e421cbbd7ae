"""`clusterip which`: one packet, by parameters and by rules, and its refusals."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
import pytest

from clusterip import bucket
from clusterip.adapters import runfiles
from clusterip.adapters.diag import FakeSockets
from clusterip.cli import which
from clusterip.core.errors import RefusedError, UsageError
from clusterip.core.packets.connections import Connection
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Match, Ports, Rule, ServiceAction
from clusterip.core.packets.state import Chain, Entry, Group, InterfaceState
from tests.cli.answering import Answering, answering
from tests.cli.packets import BARE, SHARED, VIP, Web, answer, ask, command, parse, source_in, told

needs_root = pytest.mark.root("said before all else")


class Services(Web):
    """A host run by a daemon: bucket 2 has all of ssh, UDP is dropped; it holds buckets 1 and 2."""

    def chain(self) -> Chain:
        ssh = Match(6, destination_ports=(Ports("tcp", ((22, 22),)),))
        web = Match(6, destination_ports=(Ports("tcp", ((80, 80),)),))
        rules = (
            Rule(VIP, "eth0", ssh, SHARED, action=ServiceAction.SINGLE, bucket=2),
            Rule(VIP, "eth0", Match(17), SHARED, action=ServiceAction.DROP),
            Rule(VIP, "eth0", web, SHARED),
        )
        entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
        groups = (Group(0, VIP, SHARED),)
        state = InterfaceState(1, "eth0", groups=groups, entries=entries, cluster="web")
        return Chain((state,))


@pytest.mark.parametrize("mode", [mode.value for mode in HashMode])
def test_bare_is_the_hash(capsys: pytest.CaptureFixture[str], mode: str) -> None:
    # run, not answer: no host is opened, so neither root nor libbpf is needed.
    arguments = parse(
        *("--hashmode", mode, "--total-nodes", "16", "--hash-init", "0x10"),
        *("--src", "192.0.2.7", "--sport", "1000", "--dst", "10.9.0.1", "--dport", "80"),
    )
    assert arguments.run(arguments) == 0
    expected = bucket(mode, 16, 16, "192.0.2.7", 1000, 80)
    assert capsys.readouterr().out == f"bucket {expected} of 16\n"


def test_a_port_that_was_not_given_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(*BARE, "--src", "192.0.2.7") == 0
    said = capsys.readouterr().err
    assert "warning: 0 was taken for --sport: a connection has other ports" in said
    assert said.endswith("cure: give --sport\n")
    for words in (("--sport", "0"), ("--proto", "icmp"), ("--json",)):
        assert ask(*BARE, "--src", "192.0.2.7", *words) == 0
        assert capsys.readouterr().err == ""
    assert ask("--vip", str(VIP), "--src", source_in(1)) == 0
    assert "0 was taken for --sport and --dport" in capsys.readouterr().err


def test_ports_that_no_rule_looks_at_are_not_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_address = msgspec.structs.replace(SHARED, mode=HashMode.SOURCEIP)

    class Plain(Web):
        match = Match(6)

        def chain(self) -> Chain:
            entry = Entry(0, 1, Rule(VIP, "eth0", self.match, by_address))
            state = InterfaceState(
                1, "eth0", groups=(Group(0, VIP, by_address),), entries=(entry,), cluster="web"
            )
            return Chain((state,))

    class BySourcePort(Plain):
        match = Match(6, source_ports=(Ports("tcp", ((0, 22),)),))

    words = ("--vip", str(VIP), "--src", "192.0.2.7")
    assert answer(Plain(), *words) == 0
    assert capsys.readouterr().err == ""
    assert answer(BySourcePort(), *words) == 0
    assert "0 was taken for --sport:" in capsys.readouterr().err


def test_bare_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(capsys, *BARE, "--src", "192.0.2.7", "--json")
    assert json.loads(shown) == {
        "bucket": bucket("sourceip-sourceport", 4, 1234, "192.0.2.7"),
        "total_nodes": 4,
    }


@pytest.mark.parametrize("protocol", ["icmp", "ICMP", "1", "gre", "255"])
def test_protocols_without_ports_hash_with_ports_0(
    capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    for sport in range(16):
        shown = told(
            capsys, *BARE, "--src", "192.0.2.7", "--sport", str(sport), "--proto", protocol
        )
        assert shown == f"bucket {bucket('sourceip-sourceport', 4, 1234, '192.0.2.7')} of 4\n"


@pytest.mark.parametrize("option", ["--vip", "--dst"])
def test_by_rules(capsys: pytest.CaptureFixture[str], option: str) -> None:
    packet = ("--src", source_in(2), "--sport", "1000", "--dport", "80")
    assert told(capsys, option, str(VIP), *packet) == (
        "bucket 2 of 4\n"
        "rule 2: -A INPUT -d 10.9.0.100/32 -i eth0 -p tcp -m tcp --dport 80 -j CLUSTERIP\n"
        "this host holds the bucket now\n"
        "no connection of this flow is open here\n"
    )


def test_by_rules_another_host(capsys: pytest.CaptureFixture[str]) -> None:
    packet = ("--src", source_in(3), "--sport", "1000", "--proto", "udp")
    lines = told(capsys, "--vip", str(VIP), *packet).splitlines()
    assert lines[0] == "bucket 3 of 4"
    assert lines[1].startswith("rule 1: -A INPUT -d 10.9.0.100/32 -i eth0 -p udp -j CLUSTERIP")
    assert lines[2] == "this host does not hold the bucket now"


def test_by_rules_uncovered(capsys: pytest.CaptureFixture[str]) -> None:
    packet = ("--src", source_in(1), "--sport", "1000", "--dport", "81")
    # Its bucket means nothing: nobody answers.
    assert told(capsys, "--vip", str(VIP), *packet) == (
        "no rule covers the packet: every host discards it\n"
    )


def test_by_services(capsys: pytest.CaptureFixture[str]) -> None:
    for last in range(32):
        packet = ("--vip", str(VIP), "--src", f"192.0.2.{last}", "--sport", "1000")
        assert answer(Services(), *packet, "--dport", "22") == 0
        assert capsys.readouterr().out == (
            "bucket 2 of 4\n"
            "service tcp 22 of cluster web, all to bucket 2\n"
            "who answers is not known: the daemon of cluster web does not answer\n"
            "here the bucket is held\n"
            "no connection of this flow is open here\n"
        )
    assert answer(Services(), *packet, "--dport", "53", "--proto", "udp") == 0
    assert capsys.readouterr().out == (
        "service udp of cluster web, dropped\na service drops the packet: every host discards it\n"
    )


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """Have the daemon of web1 answer: it holds buckets 1 and 2, web2 the others."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    with answering() as one:
        for name, held in (("web1", [1, 2]), ("web2", [3, 4]), ("web3", [])):
            one.node(name)["held"] = held
        one.document["lease_seconds"] = 0.5
        yield one


def flow(number: int, *more: str) -> tuple[str, ...]:
    """Return a flow that falls to that bucket."""
    return (
        "--vip",
        str(VIP),
        "--src",
        source_in(number),
        "--sport",
        "1000",
        "--dport",
        "80",
        *more,
    )


SERVICE = "service tcp 80 of cluster web, decided by sourceip-sourceport"


def said(capsys: pytest.CaptureFixture[str], number: int) -> list[str]:
    assert answer(Services(), *flow(number)) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"bucket {number} of 4", SERVICE)
    return rest


@needs_root
def test_the_node_that_answers(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    none = "no connection of this flow is open here"
    assert said(capsys, 2) == [
        "web1 answers, which is this host", "here the bucket is held", none
    ]  # fmt: skip
    assert said(capsys, 3) == ["web2 answers", "here the bucket is not held", none]
    daemon.node("web3")["draining"] = [3]
    keeps = "web3 keeps the connections from before the bucket moved"
    assert said(capsys, 3) == ["web2 answers", keeps, "here the bucket is not held", none]
    # Who is silent, or goes by another file, answers nothing.
    for change in ({"alive": False}, {"alive": True, "agrees": False}):
        daemon.node("web2").update(change)
        assert said(capsys, 3)[0] == "no node that is heard here answers"
    daemon.document["lease_seconds"] = 0
    assert said(capsys, 1)[0] == "no node that is heard here answers"


@needs_root
@pytest.mark.usefixtures("daemon")
def test_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    here = Connection(VIP, 80, IPv4Address(source_in(2)), 1000)
    for connection, there in (
        (here, True),
        (here._replace(port=81), False),
        (here._replace(source_port=1001), False),
    ):
        assert answer(Services(), *flow(2, "--json"), sockets=FakeSockets([connection])) == 0
        assert json.loads(capsys.readouterr().out)["connection"] is there
    assert answer(Services(), *flow(2), sockets=FakeSockets([here])) == 0
    assert capsys.readouterr().out.endswith("a connection of this flow is open here\n")
    # Without ports there is no flow.
    bare = ("--vip", str(VIP), "--src", source_in(2), "--dport", "80", "--json")
    assert answer(Services(), *bare) == 0
    assert json.loads(capsys.readouterr().out)["connection"] is None


@needs_root
def test_the_node_in_json(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.node("web3")["draining"] = [3]
    assert answer(Services(), *flow(3, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert "--dport 80 -j CLUSTERIP --new" in told.pop("rule_text")
    assert told == {
        "vip": "10.9.0.100",
        "bucket": 3,
        "total_nodes": 4,
        "rule": 3,
        "action": "balance",
        "held": False,
        "cluster": "web",
        "service": "tcp 80",
        "decided_by": "sourceip-sourceport",
        "node": "web2",
        "keeps": ["web3"],
        "state": "none",
        "connection": False,
    }


def test_by_rules_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    packet = ("--vip", str(VIP), "--src", source_in(2), "--sport", "1000", "--json")
    assert json.loads(told(capsys, *packet, "--dport", "80")) == {
        "vip": "10.9.0.100",
        "bucket": 2,
        "total_nodes": 4,
        "rule": 2,
        "rule_text": "-A INPUT -d 10.9.0.100/32 -i eth0 -p tcp -m tcp --dport 80 -j CLUSTERIP",
        "action": "balance",
        "held": True,
        "cluster": None,
        "service": None,
        "decided_by": None,
        "node": None,
        "keeps": [],
        "state": "owned",
        "connection": False,
    }
    uncovered = json.loads(told(capsys, *packet, "--dport", "81"))
    assert (uncovered["rule"], uncovered["rule_text"]) == (None, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--src", "192.0.2.7"], "--hashmode and --total-nodes missing"),
        (["--src", "192.0.2.7", "--hashmode", "sourceip"], "--total-nodes missing"),
        (["--src", "192.0.2.7", "--hash-init", "1"], "--hashmode and --total-nodes missing"),
        (BARE, "--src is missing"),
        ([*BARE, "--vip", "10.9.0.100", "--src", "192.0.2.7"], "--vip excludes --hashmode"),
        (
            ["--vip", "10.9.0.100", "--dst", "10.9.0.1", "--src", "192.0.2.7"],
            "--dst 10.9.0.1 is not --vip 10.9.0.100",
        ),
        ([*BARE, "--src", "192.0.2.7", "--csv", "-"], "--src and --csv exclude each other"),
        ([*BARE, "--csv", "/nonexistent"], "/nonexistent cannot be read: No such file"),
        (
            ["--src", "192.0.2.7", "--hashmode", "sourceip", "--total-nodes", "257"],
            "total_nodes 257 is not in 1..256",
        ),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        ask(*words)
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--src", "fe80::1%2"], "argument --src: 'fe80::1%2' is not an IP address"),
        (["--src", "192.0.2"], "argument --src: '192.0.2' is not an IP address"),
        (["--sport", "65536"], "argument --sport: '65536' is not a port"),
        (["--proto", "tpc"], 'argument --proto: unknown protocol "tpc" specified'),
        (["--total-nodes", "four"], "argument --total-nodes: 'four' is not a number"),
        (["--hash-init", "4294967296"], "argument --hash-init: '4294967296' is not a number"),
        (["--hashmode", "bogus"], "argument --hashmode: invalid choice: 'bogus'"),
    ],
)
def test_argparse_names_the_option(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--vip", "--dst"])
def test_an_address_that_is_not_shared(option: str) -> None:
    with pytest.raises(RefusedError, match=r"10\.9\.0\.1 is not shared here"):
        ask(option, "10.9.0.1", "--src", "192.0.2.7")


def test_as_a_command() -> None:
    words = command(*BARE, "--src", "192.0.2.7", "--sport", "1000")
    expected = bucket("sourceip-sourceport", 4, 1234, "192.0.2.7", 1000)
    assert subprocess.check_output(words, text=True) == f"bucket {expected} of 4\n"


@pytest.mark.parametrize(
    ("source", "destination"), [("1.2.3.4", "2001:db8::1"), ("2001:db8::1", "1.2.3.4")]
)
def test_no_packet_goes_from_one_family_to_the_other(
    source: str, destination: str, tmp_path: Path
) -> None:
    said = f"no packet goes from {source} to {destination}"
    file = tmp_path / "packets.csv"
    for words in (f"--src {source} --dst {destination}", f"--csv {file} --dst {destination}"):
        file.write_text(f"src\n{source}\n")
        with pytest.raises(UsageError, match=said):
            which.run(parse(*BARE, *words.split()))
    file.write_text(f"src,dst\n{source},{destination}\n")
    with pytest.raises(UsageError, match=f"line 2: {said}"):
        which.run(parse(*BARE, "--csv", str(file)))
