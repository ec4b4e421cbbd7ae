"""The command from its first line to its last: where Ctrl-C may come, and where it was started."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from clusterip.cli import entry
from tests.cli.conftest import environment

WHEN_LOADED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
AT_THE_END = """
import atexit, os, signal
atexit.register(os.kill, os.getpid(), signal.SIGINT)
"""
COMMAND = """
import sys
from clusterip.cli.entry import main
sys.argv[1:] = "which --hashmode sourceip --total-nodes 3 --src 10.9.0.1".split()
sys.exit(main())
"""

ANSWER = "bucket 3 of 3\n"


def run(program: str, *before: str) -> tuple[int, str, str]:
    words = ("env", *before, sys.executable, "-c", program + COMMAND)
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["clusterip.cli.main", "clusterip.core.address", "ipaddress"])
def test_ctrl_c_while_it_is_loaded_ends_it_without_a_word(name: str) -> None:
    assert run(WHEN_LOADED.format(name=name), "--default-signal") == (-signal.SIGINT, "", "")


def test_ctrl_c_when_all_is_done() -> None:
    status, out, err = run(AT_THE_END, "--default-signal")
    assert (status, err) == (-signal.SIGINT, "")
    assert out == ANSWER


@pytest.mark.parametrize("program", [WHEN_LOADED.format(name="ipaddress"), AT_THE_END])
def test_ctrl_c_that_its_parent_ignores(program: str) -> None:
    status, out, err = run(program, "--ignore-signal=INT")
    assert (status, err) == (0, "")
    assert out == ANSWER


def test_a_directory_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(os, "getcwd", fail)
    try:
        assert entry.main() == 4
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("clusterip: the current directory is out of reach: Permission denied\n")
    assert "  cure: " in err
