"""`clusterip check`: what it prints of a file, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clusterip.adapters import configfiles
from clusterip.core.config.faults import ConfigError
from clusterip.core.errors import UsageError
from tests.cli.check.asking import ask, document


def test_a_good_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(file) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(
        f"{file}: can be used: cluster web, VIPs 1, nodes 5 (witnesses: 1), voters 5 (majority),"
        " buckets 120, "
    )


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ("web1", "web1: serves on eth0, weight 100: 48.0 of 120 buckets"),
        ("WEB2", "web2: serves on eth0, weight 50: 24.0 of 120 buckets"),
        ("watch", "watch: a witness on eth0: votes, holds no bucket"),
    ],
)
def test_a_node(file: Path, node: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(file, "--node", node) == 0
    assert capsys.readouterr().out.splitlines()[2] == line


def test_a_node_that_is_not_there(file: Path) -> None:
    with pytest.raises(UsageError, match="has no node ''"):
        ask(file, "--node", "")
    with pytest.raises(UsageError, match="has no node 'web9'") as caught:
        ask(file, "--node", "web9")
    assert caught.value.cure == "it has watch, web1, web2, web3, web4"


def test_a_bad_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[cluster]\nname = 1\n[chek]\n")
    assert ask(file, "--node", "web1") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{file}:1: there is no [[node]]",
        '  cure: add [[node]] and name = "web1" for each host',
        f"{file}:1: there is no [[vip]]",
        '  cure: add [[vip]] and address = "10.9.0.100"',
        f"{file}:2: name: must be text, not a number",
        "  cure: put it in quotation marks",
        f"{file}:3: unknown key 'chek' in the file",
        '  cure: did you mean "check"?',
    ]


def test_what_is_unwise(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().partition("[[check]]")[0])
    assert ask(file) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: warning: no health check: a host whose server is down goes on answering",
        '  cure: add a [[check]], such as type = "tcp" with port = 80',
    ]


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(file, "--json", "--node", "web1") == 0
    told = document(capsys)
    digest = told["cluster"].pop("hash_digest")
    assert len(bytes.fromhex(digest)) == 8
    assert told == {
        "file": str(file),
        "valid": True,
        "faults": [],
        "host": [],
        "looked_at": [],
        "not_looked_at": [],
        "warnings": [],
        "daemon": None,
        "cluster": {
            "name": "web",
            "profile": "default",
            "quorum": "majority",
            "buckets": 120,
            "voters": ["watch", "web1", "web2", "web3", "web4"],
            "vips": [{"vip": "10.9.0.100", "clustermac": "01:00:5E:00:00:C4"}],
        },
        "node": {
            "name": "web1",
            "interface": "eth0",
            "addresses": ["10.9.0.1"],
            "weight": 100,
            "witness": False,
        },
    }


def test_json_of_a_bad_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("\n=")
    assert ask(file, "--json") == 2
    told = document(capsys)
    assert told["valid"] is False
    assert told["cluster"] is None
    assert told["node"] is None
    (fault,) = told["faults"]
    assert (fault["file"], fault["line"]) == (str(file), 2)
    assert fault["message"] == "not TOML: Invalid statement"


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert ask(path) == 2
        assert f"{path}: cannot be read: " in capsys.readouterr().err
        assert ask(path, "--json") == 2
        (fault,) = document(capsys)["faults"]
        assert (fault["file"], fault["line"]) == (str(path), 0)


def test_a_file_that_never_ends_or_never_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert ask(path) == 2
    assert f"{path}: cannot be read: Not a regular file" in capsys.readouterr().err
    path = tmp_path / "long"
    path.touch()
    os.truncate(path, 1 << 40)
    assert ask(path) == 2
    assert f"{path}: has more than 1048576 bytes" in capsys.readouterr().err


def test_what_a_daemon_reads(file: Path) -> None:
    assert configfiles.load(str(file)).name == "web"
    assert configfiles.load_keys(str(file.with_name("keys"))).sending.id == 1
    with pytest.raises(ConfigError, match="keys:3: not TOML"):
        configfiles.load(str(file.with_name("keys")))
