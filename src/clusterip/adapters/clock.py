"""The clock of the leases, which never jumps, and goes on while the machine sleeps; and files'."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from clusterip.core.errors import RefusedError

_OFFSETS: Final = Path("/proc/self/timens_offsets")
"""What time_namespaces(7) adds to the clocks: a line for each with its name, seconds, ns."""


def boottime() -> int:
    """Return CLOCK_BOOTTIME, ns: what `bpf_ktime_get_boot_ns` gives to the programs.

    But in a time namespace, of which they know nothing: see `refuse_offset`.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def lately(written: float, seconds: float) -> bool:
    """Tell whether what a file system wrote down as `written`, s since 1970, is so young.

    The clock of file systems may be set back: what seems to be of the future is from before that.
    """
    return abs(time.time() - written) < seconds


def refuse_offset() -> None:
    """Raise RefusedError where `boottime` is not the clock of the kernel's programs."""
    try:
        lines = _OFFSETS.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return  # this kernel has no time namespaces
    for clock, *offset in map(str.split, lines):
        if clock == "boottime" and any(map(int, offset)):
            raise RefusedError(
                f"this is a time namespace, with a boottime {offset[0]} s from the kernel's:"
                " leases would end at another time than is promised to the others",
                "run it in the machine's own time namespace: without unshare --time, in a"
                " container without time offsets",
            )
