"""Signals of real processes: held over an exec, and by no program that is started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from clusterip.adapters.signals import HELD
from tests.cli.conftest import environment

# Holds, and goes on as another program when a line comes; that one says what came.
BEFORE = """
import os, sys
from clusterip.adapters import signals
signals.hold()
print("held", flush=True)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
AFTER = """
import select
from clusterip.adapters.signals import Signals
one = Signals()
select.select([one], [], [], 10)
print(*sorted(got.name for got in one.read()), flush=True)
assert list(one.read()) == []
one.close()
"""


INHERITED = [(), ("env", "--ignore-signal"), ("env", "--block-signal")]
"""What starts it, with all signals as they were, ignored or blocked."""


@pytest.fixture
def held(request: pytest.FixtureRequest) -> subprocess.Popen[str]:
    words = (*getattr(request, "param", ()), sys.executable, "-c", BEFORE, AFTER)
    process = subprocess.Popen(
        words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("number", sorted(HELD))
def test_it_outlives_an_exec(held: subprocess.Popen[str], number: signal.Signals) -> None:
    for _ in range(3):
        held.send_signal(number)
    assert held.communicate("go on\n", timeout=20)[0] == f"{signal.Signals(number).name}\n"
    assert held.returncode == 0


@pytest.mark.parametrize("held", INHERITED, indirect=True)
def test_several(held: subprocess.Popen[str]) -> None:
    for number in HELD:
        held.send_signal(number)
    names = " ".join(sorted(one.name for one in HELD))
    assert held.communicate("go on\n", timeout=20)[0] == f"{names}\n"


@pytest.mark.parametrize("held", INHERITED, indirect=True)
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGABRT, signal.SIGKILL])
def test_one_that_does_not_listen_can_be_ended(
    held: subprocess.Popen[str], number: signal.Signals
) -> None:
    held.send_signal(number)
    held.communicate(timeout=20)
    assert held.returncode == -number
