"""The mount namespace that `ip netns exec` gives its command, and the way out of it.

What is mounted in it is seen by nobody else, another `ip netns exec` of the same name included.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

from clusterip.adapters.bpffs import ancestors
from clusterip.core.errors import SystemFaultError

_CLONE_NEWNS: Final = 0x00020000  # linux/sched.h
_NAMED: Final = Path("/run/netns")


def leave() -> None:
    """Go to the mount namespace that `ip netns exec` was called in; nothing happens without.

    The working directory is lost. To be called while there is one thread; SystemFaultError where
    it cannot be done.

    Where the caller has ended meanwhile it is that of who adopted us: init, as a rule. Where that
    one has another root, the caller's was of a container, and is not known any more.
    """
    name = _name("self")
    outside = next((pid for pid in ancestors() if not _name(str(pid))), None)
    if not name or outside is None:
        return
    try:
        _enter(outside)
    except OSError as error:
        raise SystemFaultError(
            "what is mounted under `ip netns exec` is seen by nobody else, and its mount namespace"
            f" cannot be left for that of process {outside}: {error.strerror}",
            f"nsenter --net={_NAMED / name} clusterip ..., which stays in the one it is called in",
        ) from error


def _enter(process: int) -> None:
    """Enter the mount namespace of a process that has the same root; OSError if it cannot be."""
    if not Path(f"/proc/{process}/root/").samefile("/"):
        raise OSError(0, f"who called it has ended, and process {process} has another root")
    handle = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(handle)


def _name(process: str) -> str:
    """Return the network namespace that a process is in by `ip netns exec`, "" for none.

    ip-netns(8) mounts a sysfs for it, with that name as the source.
    """
    try:
        text = Path(f"/proc/{process}/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    mounts = (line.partition(" - ") for line in text.splitlines())
    sources = [
        source.split()[1] for mount, _, source in mounts if mount.split()[4] == "/sys"
    ]  # the last one lies on top
    return sources[-1] if sources and (_NAMED / sources[-1]).exists() else ""
