"""What to do where the system refuses something, by its errno: see errno(3)."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_CHECK: Final = "`clusterip check` looks at this host"
_FORBIDDEN: Final = (
    f"see who may use {{path}}, and that no security module or container forbids it; {_CHECK}"
)
_CURES: Final = {
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "mount -o remount,rw {mount}",
    errno.ENOSPC: "make room there: see `df {mount}` and `df -i {mount}`",
    errno.EDQUOT: "raise the quota, or make room there",
    errno.EMFILE: "allow this process more descriptors: LimitNOFILE= of a unit, or `ulimit -n`",
    errno.ENFILE: "allow the machine more open files: sysctl fs.file-max",
    errno.ENOMEM: "see that there is memory, for this unit or container, too",
    errno.EAGAIN: "allow more processes: TasksMax= of a unit, the pids limit of a container",
    errno.ENOTDIR: "remove what is in the place of a folder, above {path}",
    errno.ENOENT: f"see that {{path}} is there, in this mount namespace, too; {_CHECK}",
}
_NAMELESS: Final = {
    errno.EROFS: "mount what it writes to for writing: mount -o remount,rw ...",
    errno.ENOSPC: "make room where it writes to: see `df` and `df -i`",
    errno.ENOENT: "go to a directory that is there, such as `cd /`; see that /proc, /sys and /run"
    f" are mounted; {_CHECK}",
}
"""Where it is not known what was refused."""
_DESCRIPTORS: Final = Path("/proc/self/fd")
_ELSE: Final = f"see that no security module or container forbids it; {_CHECK}"


def cure(error: OSError, path: str | Path = "") -> str:
    """Return what to do about an error of the system, at `path`; default: the one it names."""
    named = path or error.filename
    number = error.errno or 0
    if not isinstance(named, (str, bytes, os.PathLike)):
        return _NAMELESS.get(number, _CURES.get(number, _ELSE)).format(path="it")
    place = Path(os.fsdecode(named))
    return _CURES.get(number, _ELSE).format(path=place, mount=_mount(place))


def _mount(path: Path) -> Path:
    """Return where the file system of a path is mounted, that need not be there."""
    try:
        there = path.absolute()
    except FileNotFoundError:  # the current directory is gone
        return path
    # As what it leads to, where it is a link.
    every = (one for one in (there, *there.parents) if os.path.ismount(f"{one}/."))
    found = next(every, Path("/"))
    # Reached through a descriptor it is one of another mount namespace: see `bpffs`.
    return found.readlink() if found.parent == _DESCRIPTORS else found
