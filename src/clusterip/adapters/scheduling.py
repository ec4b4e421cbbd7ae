"""Getting the processor in time: a daemon that runs late loses its lease.

sched_setscheduler(2), setpriority(2) and mlockall(2). All of it is a wish: a container may lack
the capability, and then the daemon runs as any program does, and says so.
"""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from typing import Final

_PRIORITY: Final = 10
"""Of 1..99: above all that is not real-time, below what the kernel's own threads have."""
_NICE: Final = -20
_NICE_AT_START: Final = -10
"""Ten times the share of another program, none of which waits for more than some 30 ms."""
_REAL_TIME: Final = "CAP_SYS_NICE and real-time priority, as the unit for systemd does"
_MEMORY: Final = "CAP_IPC_LOCK, or LimitMEMLOCK=infinity, as the unit for systemd does"
_MCL_CURRENT_AND_FUTURE: Final = 3


def raise_process() -> str:
    """Give this process, from now on, the processor first; return why it is not, "" if it is.

    Programs that it starts do not inherit it.
    """
    # What is there by now stays; the collector need not look at it again and again.
    gc.freeze()
    note = raise_thread()
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_AND_FUTURE):
        reason = os.strerror(ctypes.get_errno())
        note = note or f"its memory may be swapped out: {reason}; allow it {_MEMORY}"
    return note


def lower_process() -> None:
    """Be nearly as others for what an execve(2) is to start: it computes too long to go first.

    A program in real time keeps a processor from all others until it has all its libraries, 0.1 s
    and more; they would see a restart. It is itself in time for its lease, see `prepare_restart`.
    """
    with suppress(OSError):  # not permitted, nor was raising it
        _be_nice(_NICE_AT_START)


def raise_thread() -> str:
    """Give this thread the processor first; return why it is not, "" if it is."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_PRIORITY))
    except OSError as error:
        try:
            _be_nice(_NICE)
        except OSError:
            return f"normal priority: {error.strerror}; allow it {_REAL_TIME}"
        return f"priority nice {_NICE}, not real-time: {error.strerror}; allow it {_REAL_TIME}"
    return ""


def _be_nice(value: int) -> None:
    # With this flag a nice value too is not inherited.
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, value)
