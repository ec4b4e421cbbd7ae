"""The old per-VIP files as a file system: /proc/net/ipt_CLUSTERIP, through FUSE.

The rules:
- One file for each VIP that is shared now; it appears and goes with the rules, so nothing is
  cached, neither here nor in the kernel.
- Each read and each write goes through to the buckets (direct_io), and a write gets its errno
  from `core.rules.statefile`, whatever the offset and however the file was opened.
- Who may do so is for owner, group and mode to say, which the kernel checks. They can be changed
  as in proc: a change lasts until the VIP is seen to be gone, or the files are served no more.
- Nothing else can be changed: what the files are follows from the rules. Each refusal has the
  errno that it has in proc.
- Requests are answered one at a time, in one thread; other processes are the locks' business.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import queue
import re
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

from clusterip.core.address import Address, address_of, order
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.packets.hashing import HashMode
from clusterip.core.packets.model import Mac, Sharing
from clusterip.core.packets.state import Chain, Group, InterfaceState
from clusterip.core.rules import statefile

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_SYSTEM: Final = "fuse.clusterip"
"""The type of the file system, as /proc/self/mountinfo has it."""

_MNT_FORCE: Final = 1  # umount2(2): fail what is under way
_MNT_DETACH: Final = 2  # umount2(2): out of sight at once, gone when the last user closes
_STOP_SECONDS: Final = 5.0


class Buckets(Protocol):
    """What the files need to know and do; `runtime.rule_table.RuleTable` is the real one."""

    def chain(self) -> Chain:
        """Return the rules as they are now."""

    def buckets(self, vip: Address) -> tuple[int, ...]:
        """Return the buckets of `vip` held here; RefusedError if it is not shared here."""

    def change_bucket(self, vip: Address, change: statefile.Change) -> None:
        """Take or give up one bucket; BucketChangeError or RefusedError if that cannot be."""


class FakeBuckets:
    """A host in memory. `owned` maps each VIP to the buckets held, of `total` each."""

    def __init__(self, owned: dict[Address, set[int]], total: int = 4) -> None:
        self.owned = owned
        self.total = total

    def chain(self) -> Chain:
        """Return rules that share the VIPs of `owned` on one interface."""
        sharing = Sharing(HashMode.SOURCEIP, Mac("01005e000020"), self.total)
        groups = (Group(index, vip, sharing) for index, vip in enumerate(self.owned))
        return Chain((InterfaceState(1, "eth0", groups=tuple(groups)),))

    def buckets(self, vip: Address) -> tuple[int, ...]:
        """Return the buckets of `vip` held, ascending."""
        return tuple(sorted(self._of(vip)))

    def change_bucket(self, vip: Address, change: statefile.Change) -> None:
        """Take or give up one bucket."""
        owned = self._of(vip)
        statefile.check(change, frozenset(owned), self.total)
        if change.add:
            owned.add(change.bucket)
        else:
            owned.remove(change.bucket)

    def _of(self, vip: Address) -> set[int]:
        if vip not in self.owned:
            raise RefusedError(f"{vip} is not shared here", "name one that is")
        return self.owned[vip]


class _Attributes(NamedTuple):
    """What chmod and chown change. `mode` has no file type."""

    mode: int
    uid: int = 0
    gid: int = 0


class StateFiles:
    """The operations of the file system, by the names and arguments of mfusepy.

    `ready` is called when the file system is mounted, `report` with a sentence for what went
    wrong and has no errno of its own.
    """

    use_ns = True  # mfusepy: times are whole nanoseconds

    def __init__(
        self, buckets: Buckets, ready: Callable[[], None], report: Callable[[str], None]
    ) -> None:
        self._buckets = buckets
        self._ready = ready
        self._report = report
        self._born = time.time_ns()
        self._handles = itertools.count(1)
        self._texts: dict[int, bytes] = {}
        self._changed: dict[str, _Attributes] = {}
        self.stopping = False

    def init(self, _path: str) -> None:
        """Tell that the kernel has begun to ask."""
        self._ready()

    def statfs(self, _path: str) -> dict[str, int]:
        """Answer with zeros as proc does; this is also how the loop is woken to end."""
        if self.stopping:
            import mfusepy  # noqa: PLC0415 - loading it needs libfuse

            mfusepy.fuse_exit()
        return {"f_bsize": 4096, "f_namemax": 255}

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        """Return what stat(2) shows: as in proc, sizes are 0 and all belongs to root at first."""
        found = self._attributes(path)
        kind, links = (stat.S_IFDIR, 2) if path == "/" else (stat.S_IFREG, 1)
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._born)
        return {
            "st_mode": kind | found.mode,
            "st_uid": found.uid,
            "st_gid": found.gid,
            "st_nlink": links,
            "st_size": 0,
            **times,
        }

    def chmod(self, path: str, mode: int) -> int:
        """Change the mode."""
        self._changed[path] = self._attributes(path)._replace(mode=stat.S_IMODE(mode))
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Change the owner and the group; -1 leaves one as it is."""
        found = self._attributes(path)
        self._changed[path] = found._replace(
            uid=found.uid if uid == -1 else uid, gid=found.gid if gid == -1 else gid
        )
        return 0

    def utimens(self, _path: str, _times: tuple[int, int] | None = None) -> int:
        """Accept and do nothing: proc forgets times with the inode, at once below /proc/net."""
        return 0

    def _attributes(self, path: str) -> _Attributes:
        if path == "/":
            return self._changed.get(path, _Attributes(0o555))
        there = self._vips()
        # What is gone takes its attributes along: a VIP that comes again has a new file.
        for gone in {one for one in self._changed if one != "/" and _address(one) not in there}:
            del self._changed[gone]
        if _address(path) not in there:
            raise OSError(errno.ENOENT, "not shared here")
        return self._changed.get(path, _Attributes(0o600))

    def readdir(self, _path: str, _handle: int) -> list[str]:
        """Return the names in the directory."""
        return [".", "..", *(str(vip) for vip in self._vips())]

    def open(self, path: str, _flags: int) -> int:
        """Return a new handle."""
        if _address(path) not in self._vips():
            raise OSError(errno.ENOENT, "not shared here")
        return next(self._handles)

    def release(self, _path: str, handle: int) -> int:
        """Forget a handle."""
        self._texts.pop(handle, None)
        return 0

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """Return the part asked for of what `render` gives.

        A reader starts with what holds now and gets the rest of the same text, so that it
        never sees half of the old and half of the new.
        """
        if offset == 0 or handle not in self._texts:
            with self._translated():
                self._texts[handle] = statefile.render(self._buckets.buckets(_vip(path)))
        return self._texts[handle][offset : offset + size]

    def write(self, path: str, written: bytes, _offset: int, _handle: int) -> int:
        """Make the change that was written; the offset means nothing, as in proc."""
        with self._translated():
            self._buckets.change_bucket(_vip(path), statefile.parse(written))
        return len(written)

    def truncate(self, _path: str, _length: int, _handle: int | None = None) -> int:
        """Accept and do nothing: `echo +2 > FILE` truncates first."""
        return 0

    def _refused(self, *_arguments: object) -> NoReturn:
        raise OSError(errno.EPERM, "the files follow from the rules")

    unlink = rmdir = _refused

    def _unknown(self, *_arguments: object) -> NoReturn:
        raise OSError(errno.ENOENT, "not shared here")

    create = mknod = mkdir = symlink = link = _unknown

    def rename(self, _old: str, new: str) -> NoReturn:
        """Refuse, as proc does: there is no other name, and what there is stays."""
        if _address(new) in self._vips():
            self._refused()
        self._unknown()

    def _vips(self) -> list[Address]:
        with self._translated():
            # What a daemon runs is not there: nobody moves those buckets by hand.
            interfaces = self._buckets.chain().static().interfaces
            vips = (group.vip for interface in interfaces for group in interface.groups)
            return sorted(vips, key=order)

    @contextlib.contextmanager
    def _translated(self) -> Any:
        """Turn our errors into errno, which is all that a file system can say."""
        try:
            yield
        except statefile.BucketChangeError as error:
            raise OSError(error.errno, error.message) from error
        except RefusedError as error:
            # The VIP went while its file was open; proc answers EIO then.
            raise OSError(errno.EIO, error.message) from error
        except ClusterIPError as error:
            self._report(str(error))
            raise OSError(errno.EIO, error.message) from error


def _address(path: str) -> Address | None:
    with contextlib.suppress(ValueError):
        return address_of(path.removeprefix("/"))
    return None


def _vip(path: str) -> Address:
    vip = _address(path)
    if vip is None:
        raise OSError(errno.ENOENT, "no address")
    return vip


class StateFileSystem:
    """The files, mounted: `start`, then `stop`.

    libfuse's loop runs in a thread of its own, in which no signal is handled if the caller
    blocks them first. `on_end` is called from that thread when the loop has ended, be it by
    `stop` or because somebody else unmounted the directory.
    """

    def __init__(
        self,
        buckets: Buckets,
        directory: Path,
        report: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._on_end = on_end
        self._began: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._files = StateFiles(buckets, lambda: self._began.put(True), report)
        self._thread = threading.Thread(target=self._loop, name="libfuse", daemon=True)
        self._fuse = _load_mfusepy()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Mount, and return when the files can be used; SystemFaultError if that fails."""
        self._thread.start()
        if not self._began.get():
            self._thread.join()
            raise SystemFaultError(
                f"the state files cannot be mounted at {self._directory}: {self._failure}",
                "libfuse has said why, above",
            )

    def stop(self) -> None:
        """Unmount, after the request that is being answered."""
        self._files.stopping = True
        # The loop looks up only when a request wakes it, so ask for something. In a thread:
        # should a request hang, this one hangs behind it.
        threading.Thread(target=self._wake, daemon=True).start()
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                _umount2(self._directory, _MNT_FORCE | _MNT_DETACH)
            # Now only a request that hangs here can hold it; the end of the process ends that.
            self._thread.join(_STOP_SECONDS / 5)

    def _loop(self) -> None:
        try:
            self._fuse.FUSE(
                self._files,
                str(self._directory),
                foreground=True,
                nothreads=True,
                direct_io=True,
                default_permissions=True,
                allow_other=True,
                noexec=True,
                attr_timeout=0,
                entry_timeout=0,
                negative_timeout=0,
                fsname="clusterip",
                subtype=FILE_SYSTEM.removeprefix("fuse."),
            )
        except BaseException as error:  # noqa: BLE001 - handed to the thread that started this
            self._failure = error
        self._began.put(False)
        self._on_end()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.statvfs(self._directory)


def mounted_type(directory: Path) -> str | None:
    """Return the type of the file system mounted at `directory` itself, None if there is none."""
    kind = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[4])
        if point == str(directory):
            kind = source.split(" ")[0]  # the last one lies on top
    return kind


def detach_dead(directory: Path) -> bool:
    """Unmount what a killed server left mounted at `directory`; say whether there was anything.

    Raises SystemFaultError if it cannot be unmounted.
    """
    try:
        directory.stat()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            return False
    else:
        return False
    try:
        _umount2(directory, _MNT_DETACH)
    except OSError as error:
        raise SystemFaultError(
            f"{directory} is a mount without its server and cannot be unmounted: {error.strerror}",
            f"umount --lazy {directory}, or name another directory with --mount",
        ) from error
    return True


def _umount2(directory: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
    libc.umount2.restype = ctypes.c_int
    if libc.umount2(os.fsencode(directory), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _load_mfusepy() -> Any:
    # mfusepy takes libfuse 2 where it finds both; what is tested here is libfuse 3.
    os.environ.setdefault("FUSE_LIBRARY_NAME", "fuse3")
    try:
        import mfusepy  # noqa: PLC0415 - loading it needs libfuse
    except (OSError, AttributeError) as error:
        raise SystemFaultError(
            f"the state files need libfuse 3: {error}",
            "apt install libfuse3-3 (on Debian 13: libfuse3-4)",
        ) from error
    return mfusepy
