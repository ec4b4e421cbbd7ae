"""The processor first, or a note why not: in programs of their own, for it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import json, os, resource, subprocess, sys, threading
from clusterip.adapters import scheduling

def seen():
    return [os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.getpriority(os.PRIO_PROCESS, 0)]

exec(sys.argv[1])
note = scheduling.raise_process()
child = "import os; print([os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)])"
told = {"note": note, "me": seen()}
def started():
    return json.loads(subprocess.check_output([sys.executable, "-c", child]))
told["child"] = started()
def thread():
    told["thread before"], told["thread note"] = seen(), scheduling.raise_thread()
    told["thread"] = seen()
one = threading.Thread(target=thread)
one.start()
one.join()
told["locked"] = int(next(l for l in open("/proc/self/status") if l.startswith("VmLck")).split()[1])
scheduling.lower_process()
told["lowered"], told["lowered child"] = seen(), started()
scheduling.raise_process()
told["again"], told["again child"] = seen(), started()
print(json.dumps(told))
"""
# As a kernel that has real-time priorities and gives this group of processes none of them.
NO_REAL_TIME = """
def set(process, policy, parameter, really=os.sched_setscheduler):
    if policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR:
        raise PermissionError(1, "Operation not permitted")
    really(process, policy, parameter)
os.sched_setscheduler = set
"""
NO_MEMORY = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))"
PLAIN = [os.SCHED_OTHER, 0]

pytestmark = pytest.mark.root("to have rights, and not")


def raised(before: str = "", *, without: str = "") -> dict[str, Any]:
    """Return what was seen of a program that has all capabilities but those."""
    words = [sys.executable, "-c", PROGRAM, before]
    if without:
        words = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_real_time() -> None:
    told = raised()
    if told["me"][0] != os.SCHED_RR:
        pytest.skip(f"no real-time priority on this machine: {told['note']}")
    assert told["note"] == told["thread note"] == ""
    assert told["thread"][0] == os.SCHED_RR
    assert told["locked"] > 0
    assert told["child"] == told["thread before"] == PLAIN
    assert told["lowered"] == [os.SCHED_OTHER, -10]
    assert told["again"][0] == os.SCHED_RR
    assert told["lowered child"] == told["again child"] == PLAIN


def test_no_real_time_but_nice() -> None:
    told = raised(NO_REAL_TIME)
    assert told["note"].startswith(
        "priority nice -20, not real-time: Operation not permitted; allow"
    )
    assert told["thread note"] == told["note"]
    assert told["me"] == told["thread"] == told["again"] == [os.SCHED_OTHER, -20]
    assert told["lowered"] == [os.SCHED_OTHER, -10]
    assert told["locked"] > 0
    assert told["child"] == PLAIN


def test_nothing_may_be() -> None:
    told = raised(NO_MEMORY, without="-sys_nice,-ipc_lock")
    assert told["note"] == told["thread note"]
    assert told["note"].startswith(
        "normal priority: Operation not permitted; allow it CAP_SYS_NICE"
    )
    mine = [os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)]
    assert told["me"] == told["child"] == told["thread"] == told["lowered"] == mine
    assert told["locked"] == 0


def test_the_memory_is_not_locked() -> None:
    told = raised(NO_MEMORY, without="-ipc_lock")
    if told["me"][0] != os.SCHED_RR:
        pytest.skip(f"no real-time priority on this machine: {told['note']}")
    assert told["note"].startswith("its memory may be swapped out: ")
    assert told["thread note"] == ""
