"""What root must be able to do, see capabilities(7): containers and services may lack some of it.

The capabilities are asked for before anything is changed, for to lack one in the middle would
leave the rest to be taken back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Final

from clusterip.core.errors import SystemFaultError


class Capability(Enum):
    """One of them: its number (linux/capability.h), and what it is needed for."""

    NET_BIND_SERVICE = (10, "to use a port below 1024")
    NET_ADMIN = (12, "to put filters, addresses and MACs on interfaces")
    NET_RAW = (13, "to announce VIPs by frames of its own")
    SYS_ADMIN = (21, "to load the BPF programs, and to find what is pinned")

    def __init__(self, number: int, purpose: str) -> None:
        self.number = number
        self.purpose = purpose

    def __str__(self) -> str:
        return f"CAP_{self.name}"


LOOK: Final = (Capability.SYS_ADMIN,)
"""Needed to see and to move what is shared here. It has CAP_BPF and CAP_PERFMON in it."""
CHANGE: Final = (*LOOK, Capability.NET_ADMIN)
"""Needed to share an interface."""
ANNOUNCE: Final = (*LOOK, Capability.NET_RAW)
SERVE: Final = (*CHANGE, Capability.NET_RAW)
"""Needed by a daemon that serves; one that only votes needs none."""
LOW_PORT: Final = (Capability.NET_BIND_SERVICE,)
"""Needed by a daemon whose file gives such a port."""

_STATUS: Final = Path("/proc/thread-self/status")
_USER_NAMESPACE: Final = Path("/proc/self/ns/user")
_OF_THE_MACHINE: Final = 0xEFFFFFFD  # PROC_USER_INIT_INO of linux/proc_ns.h


def require(needed: Iterable[Capability] = ()) -> None:
    """Raise SystemFaultError without root, or if one of the capabilities is missing."""
    if os.geteuid() != 0:
        raise SystemFaultError("this needs root", "run it as root: sudo clusterip ...")
    refuse_lack(needed)


def refuse_lack(needed: Iterable[Capability]) -> None:
    """Raise SystemFaultError if this process, which is root's, lacks one of the capabilities."""
    wanted = tuple(needed)
    if wanted and _USER_NAMESPACE.stat().st_ino != _OF_THE_MACHINE:
        raise SystemFaultError(
            "this root is that of a user namespace, which the kernel lets load no BPF programs",
            "run it as root of the machine, containers without a user namespace of their own",
        )
    refuse_missing(wanted)


def refuse_missing(needed: Iterable[Capability]) -> None:
    """Raise SystemFaultError if this process lacks one of the capabilities, whoever's it is."""
    lacking = missing(needed)
    if lacking:
        names = " ".join(map(str, lacking))
        options = " ".join(f"--cap-add {one.name}" for one in lacking)
        raise SystemFaultError(
            "; ".join(f"{one} is missing, {one.purpose}" for one in lacking),
            f"in a unit of systemd: {names} in CapabilityBoundingSet= and, where it has User=, in"
            f" AmbientCapabilities=; for a container: {options}",
        )


def missing(needed: Iterable[Capability]) -> tuple[Capability, ...]:
    """Return which of the capabilities this process lacks."""
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    there = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return tuple(one for one in needed if not there >> one.number & 1)
