"""Where pins live: a bpffs that every process of the machine sees, a folder per network namespace.

The folder is named after the namespace's cookie, which the kernel never gives out twice while
it runs; inode numbers of namespaces are reused.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from clusterip.core.errors import SystemFaultError

_BPF_FS_MAGIC: Final = 0xCAFE4A11  # linux/magic.h
_SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h, Linux 5.14
_LOCK: Final = Path("/run/clusterip.lock")
_PATIENCE_SECONDS: Final = 2.0
_MOUNT_POINT: Final = "sys/fs/bpf"
_TO_NOBODY: Final = (errno.EROFS, errno.ENOENT, errno.ENOSPC, errno.EDQUOT)
"""With these the lock is refused to whoever asks for it."""


def namespace_cookie() -> int:
    """Return the number of the network namespace this process is in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


@cache
def namespace_folder() -> Path:
    """Return the folder of this network namespace's pins, which need not exist.

    Mounts bpffs where the machine has none; SystemFaultError if that cannot be done.
    """
    return _own_folder(_there() or _mounted())


def existing_folder() -> Path | None:
    """Return the same where the machine has a bpffs, and mount none; None where it has none."""
    place = _there()
    return None if place is None else _own_folder(place)


def found_again(folder: Path) -> Path:
    """Return where pins belong that were in `folder`: elsewhere if its bpffs is not there any more.

    Mounts it anew where the machine has none; SystemFaultError if that cannot be done.
    """
    place = folder.parents[1]
    return _own_folder(place if _is_bpffs(place) else _there() or _mounted())


def is_found(folder: Path) -> bool:
    """Tell whether a process that begins now in place of this one looks for pins in `folder`.

    It does not where the process that this one's bpffs was found through has ended.
    """
    place = _found()
    with contextlib.suppress(OSError):
        return place is not None and place.samefile(folder.parents[1])
    return False


def _own_folder(place: Path) -> Path:
    folder = place / "clusterip"
    if folder.exists() and folder.stat().st_uid != 0:
        # A bpffs mounted without a mode lets every user make folders in it.
        raise SystemFaultError(
            f"{folder} belongs to another user than root, who could change what is pinned there",
            f"rmdir {folder}, and mount bpffs with mode=0700",
        )
    return folder / str(namespace_cookie())


def _there() -> Path | None:
    """Find the machine's bpffs.

    `ip netns exec` gives its command a mount namespace with a fresh /sys. A bpffs mounted there
    would be gone with the command, and the pins with it; so the one of the process that called
    is used, reached through its root directory.
    """
    place = _found()
    return None if place is None else _held(place)


def _found() -> Path | None:
    found = (root / _MOUNT_POINT for root in _roots() if _is_bpffs(root / _MOUNT_POINT))
    return next(found, None)


def _mounted() -> Path:
    """Mount it where the furthest ancestor sees it."""
    machine = next((root for root in reversed(_roots()) if _accessible(root)), Path("/"))
    _mount(machine)
    return _held(machine / _MOUNT_POINT)


def _roots() -> list[Path]:
    return [Path("/"), *(Path(f"/proc/{pid}/root") for pid in ancestors())]


def _held(path: Path) -> Path:
    """Return a path to the folder that stays good when the process it led through ends."""
    if path.parts[1] != "proc":
        return path
    return Path(f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_DIRECTORY)}")


def ancestors() -> Iterator[int]:
    """Yield the process ids of the parent, its parent and so on."""
    pid = os.getppid()
    while pid > 0:
        yield pid
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return
        pid = int(status.split("PPid:", 1)[1].split(None, 1)[0])


def _accessible(root: Path) -> bool:
    try:
        return (root / _MOUNT_POINT).is_dir()
    except OSError:
        return False


def _is_bpffs(path: Path) -> bool:
    """Ask statfs(2); its first field is the file system's type."""
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).statfs(os.fsencode(path), buffer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(buffer).value == _BPF_FS_MAGIC


def _mount(root: Path) -> None:
    command = ["mount", "-t", "bpf", "-o", "mode=0700", "bpf", f"/{_MOUNT_POINT}"]
    if root != Path("/"):
        command = ["nsenter", f"--mount={root.parent / 'ns' / 'mnt'}", "--", *command]
    import subprocess  # noqa: PLC0415 - the machine nearly always has one

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemFaultError(
            f"no bpffs at /{_MOUNT_POINT}, and it cannot be mounted: {done.stderr.strip()}",
            f"as root of the machine: mount -t bpf bpf /{_MOUNT_POINT}",
        )


@contextlib.contextmanager
def locked(notify: Callable[[str], None], *, in_any_case: bool = False) -> Iterator[None]:
    """Keep other changes of this network namespace away; `notify` is told of a wait over 2 s.

    One file for the whole machine, and of it the byte whose number is the namespace's cookie:
    an open file description lock (fcntl(2)), which threads have of their own. OSError where there
    can be no such file; `in_any_case` it goes on where nobody else can have the lock either.
    """
    byte = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, namespace_cookie(), 1, 0)
    try:
        fd = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if not in_any_case or error.errno not in _TO_NOBODY:
            raise
        yield
        return
    import threading  # noqa: PLC0415 - who only reads needs no lock

    words = f"another clusterip command is at work, waiting for it ({_LOCK})"
    patience = threading.Timer(_PATIENCE_SECONDS, notify, (words,))
    try:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, byte)
        except BlockingIOError:
            patience.start()
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, byte)
        finally:
            patience.cancel()
        yield
    finally:
        os.close(fd)
