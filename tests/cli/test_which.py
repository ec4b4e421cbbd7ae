"""`clusterip which`: one packet and many, by parameters and by rules, and its refusals."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import pty
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip import bucket
from clusterip.adapters.statefs import FakeBuckets
from clusterip.cli import which, which_csv
from clusterip.core.errors import ClusterIPError, RefusedError, UsageError
from clusterip.core.hashing import HashMode
from clusterip.core.model import Mac, Match, Ports, Rule, ServiceAction, Sharing
from clusterip.core.state import Chain, Entry, Group, InterfaceState

VECTORS = Path(__file__).parent.parent / "vectors" / "ipt_clusterip_linux_6.1.csv"
VIP = IPv4Address("10.9.0.100")
SHARED = Sharing(HashMode.SOURCEIP_SOURCEPORT, Mac("01005e000020"), 4, 1234)
BARE = ["--hashmode", "sourceip-sourceport", "--total-nodes", "4", "--hash-init", "1234"]


class Web(FakeBuckets):
    """A host that shares one VIP by two rules, UDP and TCP to port 80, and holds bucket 1 and 2."""

    def __init__(self) -> None:
        super().__init__({VIP: {1, 2}})

    def chain(self) -> Chain:
        web = Match(6, destination_ports=(Ports("tcp", ((80, 80),)),))
        rules = (Rule(VIP, "eth0", Match(17), SHARED, 1), Rule(VIP, "eth0", web))
        entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
        groups = (Group(0, VIP, SHARED),)
        return Chain((InterfaceState(1, "eth0", groups=groups, entries=entries),))


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    which.add_to(parser.add_subparsers())
    return parser.parse_args(["which", *words])


class Services(FakeBuckets):
    """A host run by a daemon: bucket 2 has all of ssh, UDP is dropped; it holds bucket 2."""

    def __init__(self) -> None:
        super().__init__({VIP: {2}})

    def chain(self) -> Chain:
        ssh = Match(6, destination_ports=(Ports("tcp", ((22, 22),)),))
        rules = (
            Rule(VIP, "eth0", ssh, SHARED, action=ServiceAction.SINGLE, bucket=2),
            Rule(VIP, "eth0", Match(17), SHARED, action=ServiceAction.DROP),
        )
        entries = tuple(Entry(place, place + 1, rule) for place, rule in enumerate(rules))
        groups = (Group(0, VIP, SHARED),)
        state = InterfaceState(1, "eth0", groups=groups, entries=entries, cluster="web")
        return Chain((state,))


def ask(*words: str) -> int:
    return which.answer(parse(*words), Web)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert ask(*words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def source_in(number: int) -> str:
    """Return a source address that falls to that bucket with source port 1000."""
    addresses = (f"192.0.2.{last}" for last in range(256))
    return next(a for a in addresses if bucket("sourceip-sourceport", 4, 1234, a, 1000) == number)


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
    start = "-A INPUT -d 10.9.0.100/32 -i eth0 -p"
    for last in range(32):
        packet = ("--vip", str(VIP), "--src", f"192.0.2.{last}", "--sport", "1000")
        assert which.answer(parse(*packet, "--dport", "22"), Services) == 0
        assert capsys.readouterr().out == (
            "bucket 2 of 4\n"
            f"rule 1: {start} tcp -m tcp --dport 22 -j CLUSTERIP --action single --bucket 2\n"
            "this host holds the bucket now\n"
        )
    udp = parse(*packet, "--dport", "53", "--proto", "udp")
    assert which.answer(udp, Services) == 0
    assert capsys.readouterr().out == (
        f"rule 2: {start} udp -j CLUSTERIP --action drop\n"
        "a service drops the packet: every host discards it\n"
    )


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


def test_the_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(told(capsys, "--csv", str(VECTORS)))))
    assert len(rows) == 2772
    assert all(row["bucket"] == row["node"] for row in rows)


def test_the_vectors_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in told(capsys, "--csv", str(VECTORS), "--json").splitlines()]
    assert len(rows) == 2772
    assert all(row["bucket"] == int(row["node"]) for row in rows)


def test_options_stand_in_for_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "packets.csv"
    file.write_text('src,note,total_nodes\n192.0.2.1,"a, b",16\n192.0.2.2,,8\n')
    words = ("--hashmode", "sourceip-sourceport", "--sport", "7", "--csv", str(file))
    one, two = (
        bucket("sourceip-sourceport", total, 0, f"192.0.2.{last}", 7)
        for last, total in ((1, 16), (2, 8))
    )
    assert told(capsys, *words) == (
        f'src,note,total_nodes,bucket\n192.0.2.1,"a, b",16,{one}\n192.0.2.2,,8,{two}\n'
    )
    # What the command line says goes before what the columns say.
    assert told(capsys, *words, "--total-nodes", "1").endswith("192.0.2.2,,8,1\n")


def test_many_by_rules(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "packets.csv"
    file.write_text(
        "src,sport,dst,dport,proto\n"
        f"{source_in(1)},1000,10.9.0.100,80,tcp\n"
        f"{source_in(4)},1000,,53,17\n"
        f"{source_in(3)},1000,10.9.0.100,81,\n"
    )
    shown = told(capsys, "--vip", str(VIP), "--csv", str(file))
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [(row["bucket"], row["rule"]) for row in rows] == [("1", "2"), ("4", "1"), ("", "")]
    lines = told(capsys, "--vip", str(VIP), "--csv", str(file), "--json").splitlines()
    assert [json.loads(line)["rule"] for line in lines] == [2, 1, None]
    assert [json.loads(line)["bucket"] for line in lines] == [1, 4, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 0: the header has no column src"),
        ("source\n", "line 1: the header has no column src"),
        ("src,bucket\n", "line 1: there would be two columns bucket"),
        ("src,src\n", "line 1: there would be two columns src"),
        ("src\n192.0.2.1\n\n192.0.2\n", "line 4: '192.0.2' is not an IP address"),
        ("src,sport\n192.0.2.1,70000\n", "line 2: '70000' is not a port"),
        ("src,sport\n192.0.2.1,http\n", "line 2: 'http' is not a port"),
        ("src,proto\n192.0.2.1,tpc\n", 'line 2: unknown protocol "tpc" specified'),
        ("src,sport\n,1\n", "line 2: src is empty"),
        ("src,sport\n192.0.2.1\n", "line 2: the row has not as many fields as the header"),
        ("src\n192.0.2.1,5\n", "line 2: the row has not as many fields as the header"),
        ('src\n"192.0.2.1\n', "line 2: unexpected end of data"),
        ("src\n192.0.2.1\n\udcff\n", "line 3: '\\udcff' is not an IP address"),
        ("src,sport\n192.0.2.1,\0\n", "line 2: '\\x00' is not a port"),
        ("\udcff\n", "line 1: the header has no column src"),
    ],
)
def test_row_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "packets.csv"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(UsageError) as refused:
        ask(*BARE, "--csv", str(file))
    assert refused.value.message.startswith(f"{file}, line ")
    assert message in refused.value.message


@pytest.mark.parametrize("name", ["-", "packets.csv"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_other_columns_are_kept_byte_for_byte(
    tmp_path: Path, name: str, locale: str, encoding: str
) -> None:
    kept = b'"' + "é€\n:b:".encode() + b'\xff\x00\xe9"'
    file = tmp_path / "packets.csv"
    file.write_bytes(b"\xef\xbb\xbfsrc," + kept + b"\n192.0.2.1," + kept + b"\n")
    with file.open() as stdin:
        done = subprocess.run(
            command(*BARE, "--csv", name),
            cwd=tmp_path,
            stdin=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": encoding},
        )
    assert (done.returncode, done.stderr) == (0, b"")
    answer = bucket("sourceip-sourceport", 4, 1234, "192.0.2.1", 0)
    assert done.stdout == b"src,%b,bucket\n192.0.2.1,%b,%d\n" % (kept, kept, answer)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("", "line 2: --hashmode and --total-nodes missing"),
        ("sourceip,", "line 2: --total-nodes missing"),
        ("bogus,4", "line 2: unknown hashmode 'bogus'"),
        ("sourceip,300", "line 2: total_nodes 300 is not in 1..256"),
        ("sourceip,four", "line 2: 'four' is not a number"),
    ],
)
def test_parameters_in_columns_are_checked(tmp_path: Path, columns: str, message: str) -> None:
    file = tmp_path / "packets.csv"
    names = ",hashmode,total_nodes" if columns else ""
    file.write_text(f"src{names}\n192.0.2.1{',' * bool(columns)}{columns}\n")
    with pytest.raises(UsageError) as refused:
        ask("--csv", str(file))
    assert message in refused.value.message


def test_a_row_for_another_address_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "packets.csv"
    file.write_text("src,dst\n192.0.2.1,10.9.0.1\n")
    with pytest.raises(ClusterIPError, match=r"line 2: dst 10\.9\.0\.1 is not the VIP"):
        ask("--vip", str(VIP), "--csv", str(file))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "clusterip.cli.main", "which", *words]


def test_as_a_command() -> None:
    words = command(*BARE, "--src", "192.0.2.7", "--sport", "1000")
    expected = bucket("sourceip-sourceport", 4, 1234, "192.0.2.7", 1000)
    assert subprocess.check_output(words, text=True) == f"bucket {expected} of 4\n"


def test_as_a_filter() -> None:
    with VECTORS.open() as file:
        shown = subprocess.check_output(command("--csv", "-"), stdin=file, text=True)
    assert all(row["bucket"] == row["node"] for row in csv.DictReader(io.StringIO(shown)))


def test_as_a_filter_with_an_error() -> None:
    done = subprocess.run(
        command(*BARE, "--csv", "-"),
        input="src\n192.0.2.1\n192.0.2\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "standard input, line 3: '192.0.2' is not an IP address" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_rows_are_answered_as_they_come() -> None:
    process = subprocess.Popen(
        [*command(*BARE, "--csv", "-")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        process.stdin.write("src\n192.0.2.1\n")
        process.stdin.flush()
        assert process.stdout.readline() == "src,bucket\n"
        assert process.stdout.readline().startswith("192.0.2.1,")
        process.stdin.close()
    assert process.returncode == 0


def test_progress_is_for_a_person_who_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "packets.csv"
    file.write_text("src\n" + "192.0.2.1\n" * 3000)
    monkeypatch.setattr(which_csv, "_QUIET_SECONDS", 0.0)
    assert ask(*BARE, "--csv", str(file)) == 0
    assert capsys.readouterr().err == ""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert ask(*BARE, "--csv", str(file)) == 0
        monkeypatch.undo()
    seen = ""
    while not seen.endswith("\n"):
        seen += os.read(ours, 4096).decode()
    os.close(ours)
    assert seen.startswith("\r1,024 packets")
    assert seen.endswith("\r3,000 packets\r\n")
