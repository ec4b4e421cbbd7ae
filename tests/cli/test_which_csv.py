"""`clusterip which`: many packets, as rows of a CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from clusterip import bucket
from clusterip.adapters import runfiles
from clusterip.cli import which_csv
from clusterip.core.errors import ClusterIPError, UsageError
from tests.cli.answering import answering
from tests.cli.packets import BARE, VIP, answer, ask, command, source_in, told
from tests.cli.test_which import Services

VECTORS = Path(__file__).parent.parent / "vectors" / "ipt_clusterip_linux_6.1.csv"


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


@pytest.mark.root("said before all else")
def test_many_with_their_nodes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    file = tmp_path / "packets.csv"
    rows = "".join(f"{source_in(number)},1000,80\n" for number in (1, 3, 4))
    file.write_text(f"src,sport,dport\n{rows}")
    with answering() as daemon:
        for name, held in (("web1", [1, 2]), ("web2", [3]), ("web3", [])):
            daemon.node(name)["held"] = held
        daemon.document["lease_seconds"] = 0.5
        assert answer(Services(), "--vip", str(VIP), "--csv", str(file)) == 0
    told = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(one["bucket"], one["node"]) for one in told] == [
        ("1", "web1"),
        ("3", "web2"),
        ("4", ""),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty: it has no header"),
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
