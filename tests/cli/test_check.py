"""`clusterip check`: what it prints, and how it ends."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import configfiles
from clusterip.cli import check
from clusterip.core.config import ConfigError
from clusterip.core.config.keys import Key, new_file
from clusterip.core.errors import SystemFaultError, UsageError

KEYS = new_file(Key(1, bytes(32)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a configuration that has nothing unwise, with its key file."""
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    path = tmp_path / "clusterip.toml"
    path.write_text(f"""\
[cluster]
name = "web"
interface = "eth0"
key_file = "{keys}"
[[vip]]
address = "10.9.0.100"
[[node]]
name = "web1"
address = "10.9.0.1"
[[node]]
name = "web2"
weight = 50
[[node]]
name = "web3"
[[node]]
name = "watch"
witness = true
[[node]]
name = "web4"
weight = 0
[[check]]
type = "tcp"
port = 80
""")
    return path


def ask(*words: object) -> int:
    parser = argparse.ArgumentParser()
    check.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["check", *map(str, words)])
    status: int = arguments.run(arguments)
    return status


def test_a_good_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(file) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(
        f"{file}: can be used: cluster web, VIPs 1, nodes 5, voters 5 (majority), buckets 120, "
    )


@pytest.mark.parametrize(
    ("node", "line"),
    [
        ("web1", "web1: serves on eth0, weight 100: 48.0 of 120 buckets"),
        ("WEB2", "web2: serves on eth0, weight 50: 24.0 of 120 buckets"),
        ("watch", "watch: a witness on eth0: votes, owns no bucket"),
    ],
)
def test_a_node(file: Path, node: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(file, "--node", node) == 0
    assert capsys.readouterr().out.splitlines()[1] == line


def test_a_node_that_is_not_there(file: Path) -> None:
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


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


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
        "warnings": [],
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


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SystemFaultError, match=f"cannot read {path}: "):
            ask(path)


# The key file.


def warnings(file: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert ask(file, "--json") == 0
    return [one["message"] for one in document(capsys)["warnings"]]


def test_no_key_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = file.with_name("keys")
    keys.unlink()
    assert warnings(file, capsys) == [f"key file {keys} is not there"]


def test_a_key_file_that_cannot_be_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = file.with_name("keys")
    keys.unlink()
    keys.mkdir()
    assert warnings(file, capsys) == [f"cannot read {keys}: Is a directory"]
    keys.rmdir()
    keys.symlink_to(keys)
    assert warnings(file, capsys) == [f"key file {keys}: {os.strerror(40)}"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_may_use(
    file: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = file.with_name("keys")
    keys.chmod(mode)
    assert warnings(file, capsys) == [
        f"key file {keys} has mode {mode:04o}: others than its owner may use it"
    ]


def test_a_bad_key_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = file.with_name("keys")
    keys.write_bytes(KEYS.encode() + b"\xff\n")
    assert ask(file) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == f"{keys}:4: this line is not a key"


def test_what_a_daemon_reads(file: Path) -> None:
    assert configfiles.load(str(file)).name == "web"
    assert configfiles.load_keys(str(file.with_name("keys"))).sending.id == 1
    with pytest.raises(ConfigError, match="keys:3: not TOML"):
        configfiles.load(str(file.with_name("keys")))
