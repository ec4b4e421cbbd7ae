"""The clock of the leases: it never jumps, and goes on while the machine sleeps."""

from __future__ import annotations

import time


def boottime() -> int:
    """Return CLOCK_BOOTTIME, ns: what `bpf_ktime_get_boot_ns` gives to the programs."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
