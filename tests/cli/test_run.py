"""`clusterip run` and `clusterip witness`: the command line and the help.

What the daemon then does is in tests/runtime/test_daemon.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from clusterip.cli.main import main, parser
from tests.cli.conftest import Process, environment

VERBS = ("run", "witness")
needs_root = pytest.mark.root("said before all else")


def helped(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_the_defaults(verb: str) -> None:
    arguments = parser().parse_args([verb])
    assert arguments.config == "/etc/clusterip.toml"
    assert (arguments.node, arguments.new_voters) == (None, False)
    assert arguments.witness is (verb == "witness")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["-c", "--config"])
def test_the_options(verb: str, option: str) -> None:
    arguments = parser().parse_args([verb, option, "file", "--node", "web1", "--new-voters"])
    assert (arguments.config, arguments.node, arguments.new_voters) == ("file", "web1", True)


def test_the_help_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped("run", capsys)
    for part in ("clusterip show", "clusterip drain", "SIGHUP", "SIGUSR2", "exit status: 0"):
        assert part in said


def test_the_help_of_witness_has_a_table_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    lines = helped("witness", capsys).splitlines()
    at = lines.index("  [[node]]")
    document = tomllib.loads("\n".join(lines[at : at + 4]))
    assert document["node"] == [{"name": "judge", "address": "10.9.5.7", "witness": True}]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("words", [("x",), ("--bogus",), ("-c",), ("--node",)])
def test_bad_command_lines(
    verb: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, *words])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clusterip")


@needs_root
@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_not_there(verb: str, process: Process, tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    done = process(verb, "-c", str(missing))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"clusterip: {missing}: cannot be read: No such file or")
    assert "\n  cure: " in done.stderr


@needs_root
def test_a_relative_path_is_named_in_full(process: Process) -> None:
    done = process("run", "-c", "no-such-file.toml")
    assert f"{Path.cwd()}/no-such-file.toml: cannot be read" in done.stderr


@needs_root
@pytest.mark.parametrize("verb", VERBS)
def test_every_fault_of_a_file(verb: str, process: Process, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[cluster]\nname = "web"\nbuckets = 999\nprofile = "warp"\n')
    done = process(verb, "-c", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    for part in ("buckets", "profile", "[[vip]]", "[[node]]"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


@needs_root
@pytest.mark.parametrize("verb", VERBS)
def test_another_clock_than_the_kernel_s(verb: str, process: Process, tmp_path: Path) -> None:
    elsewhen = ("unshare", "--time", "--fork", "--boottime", "100000", "--")
    done = process(verb, "-c", str(tmp_path / "missing.toml"), before=elsewhen)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("clusterip: this is a time namespace, with a boottime 100000 s")
    assert "\n  cure: run it in the machine's own time namespace" in done.stderr


@needs_root
def test_what_ends_it_is_an_object_where_the_log_is(tmp_path: Path) -> None:
    words = ("run", "--log-format", "json", "-c", str(tmp_path / "nothing"))
    done = subprocess.run(
        (sys.executable, "-m", "clusterip.cli.main", *words),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["event"]["kind"]) == ("error", "failed")
    assert "nothing" in said["text"]
