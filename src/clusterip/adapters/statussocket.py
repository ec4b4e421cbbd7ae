"""The status socket of a daemon, and the program that serves it (`statusprogram`)."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import clusterip
from clusterip.adapters import clock, refusals, statuspath

GROUP: Final = "clusterip"
"""Whose members may read it where the file names no group, if there is such a group."""
_GROUPS_FILE: Final = Path("/etc/group")
_PLACE: Final = str(Path(clusterip.__file__).parent.parent)
_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from clusterip.adapters.statusprogram import main; main(sys.argv[2:])"
)
"""Wherever this program is installed: it need not be where Python looks by itself."""
_OWNERS: Final = stat.S_IRUSR | stat.S_IWUSR
_GROUPS: Final = stat.S_IRGRP | stat.S_IWGRP
_EVERYBODY_LOOKS: Final = stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
_BACKLOG: Final = 64
_DEAD_SECONDS: Final = 10.0
_TRIES: Final = 5
_END_SECONDS: Final = 0.1
_MOST_WAITING: Final = 4 << 20
"""How many bytes may wait for a server that does not read them."""


def group_id(name: str | None) -> int | None:
    """Return the id of a group, None if there is none of that name."""
    try:
        return grp.getgrnam(GROUP if name is None else name).gr_gid
    except KeyError:
        return None


def groups_changed() -> tuple[int, int]:
    """Return what is another one when groups of this host's own file may have changed."""
    with contextlib.suppress(OSError):
        found = _GROUPS_FILE.stat()
        return found.st_ino, found.st_mtime_ns
    return 0, 0


class StatusSocket:
    """Listens at the place of a cluster, for a group, and has a program serve who comes.

    Any of this may raise OSError. `pipe` leads to the program: lines, see `statusserver`.
    """

    def __init__(self, cluster: str, group: int | None) -> None:
        self._path = statuspath.path_of(cluster)
        self._group = group
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(contextlib.closing(_listener(self._path, group)))
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            self.pipe = ours
            self._inode = self._path.stat().st_ino
            try:
                self._server = _started(listener, theirs)
            except BaseException:
                ours.close()
                self._unlink()
                raise
        self.pipe.setblocking(False)
        self._waiting = bytearray()
        self.answered = False
        """Whether the program said that it is alive since that was cleared last."""

    def fileno(self) -> int:
        """Return the descriptor by which the program asks for a snapshot."""
        return self.pipe.fileno()

    def is_in_place(self) -> bool:
        """Tell whether it is at its place."""
        with contextlib.suppress(OSError):
            return self._path.stat().st_ino == self._inode
        return False

    def mend(self) -> bool:
        """See that those may read it who should, and no others; say whether that was to be done."""
        folders = self._path.parent, self._path.parent.parent
        wrong = [one for one in folders if _rights(one) != (_EVERYBODY_LOOKS, 0)]
        for one in wrong:
            os.chown(one, 0, -1)
            one.chmod(_EVERYBODY_LOOKS)
        status = self._path.stat()
        mode = _OWNERS if self._group is None else _OWNERS | _GROUPS
        right = self._group is None or status.st_gid == self._group
        if (stat.S_IMODE(status.st_mode), status.st_uid, right) != (mode, 0, True):
            os.chown(self._path, 0, -1)
            _allow(self._path, self._group)
            return True
        return bool(wrong)

    def say(self, line: bytes) -> bool:
        """Tell the program a line; say whether all was sent.

        OSError where it does not read: then it is to be made anew.
        """
        self._waiting += line
        return self.flush()

    def flush(self) -> bool:
        """Send what waits; say whether all was sent."""
        while self._waiting:
            try:
                sent = self.pipe.send(self._waiting)
            except BlockingIOError:
                if len(self._waiting) > _MOST_WAITING:
                    raise
                return False
            del self._waiting[:sent]
        return True

    def wanted(self) -> bool:
        """Hear the program: tell whether a snapshot is wanted; OSError where it has ended."""
        try:
            said = self.pipe.recv(1 << 10)
        except BlockingIOError:
            return False
        if not said:
            raise BrokenPipeError
        self.answered = self.answered or b"p" in said
        return b"w" in said

    def end(self, last: bytes = b"", *, wait: bool = True) -> None:
        """End the program, whose last line is said for a moment at most; remove the socket.

        `wait` is for it to have ended, so that nothing of it is left. Without it the place is left
        to the successor, whom clients wait for then.
        """
        if not wait:
            with contextlib.suppress(OSError):
                statuspath.leave(self._path)
        with contextlib.suppress(OSError):
            self.pipe.settimeout(_END_SECONDS)
            self.pipe.sendall(bytes(self._waiting) + last)
        self._close(unlink=wait)
        if wait:
            try:
                self._server.wait(10 * _END_SECONDS)
            except subprocess.TimeoutExpired:
                if self._kill():
                    self._server.wait()
                else:
                    self._server.returncode = 0  # it is nobody's any more
        else:
            if _is_stopped(self._server.pid):
                self._kill()  # it would not read that it is to end
            # The successor, in this very process, has it as its child, and takes note of its end.
            self._server.returncode = 0

    def give_up(self) -> None:
        """Kill the program, and remove the socket, without waiting for anything; see `is_over`."""
        self._close()
        self._kill()

    def is_over(self) -> bool:
        """Tell whether the program has ended, and take note of it."""
        return self._server.poll() is not None

    def last_words(self) -> str:
        """Return how the program ended that is over."""
        code, errors, said = self._server.returncode, self._server.stderr, b""
        if errors is not None:
            with contextlib.suppress(OSError):
                os.set_blocking(errors.fileno(), False)
                said = os.read(errors.fileno(), 1 << 16)
        lines = said.decode(errors="backslashreplace").strip().splitlines()[-1:]
        ended = f"signal {-code}" if code < 0 else f"status {code}"
        return ": ".join((f"ended ({ended})", *lines))

    def _kill(self) -> bool:
        """Kill the program; say whether that may be, for a container may keep back CAP_KILL.

        Without it one that hangs stays until it does not: then it finds that nobody is there.
        """
        try:
            self._server.kill()
        except PermissionError:
            return False
        return True

    def _close(self, *, unlink: bool = True) -> None:
        self.pipe.close()
        if self._server.stderr is not None:
            self._server.stderr.close()
        if unlink:
            self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
                self._path.parent.rmdir()
                self._path.parent.parent.rmdir()


def obstacle(cluster: str, error: OSError) -> tuple[str, str]:
    """Return what keeps the socket of a cluster from being made, and the cure."""
    path = statuspath.path_of(cluster)
    if isinstance(error.filename, str) and error.filename == sys.executable:
        return f"cannot start {error.filename}: {error.strerror}", refusals.cure(error)
    for folder in (path.parent.parent, path.parent):
        if folder.exists() and not folder.is_dir():
            return f"{folder} is no folder", f"remove it: rm {folder}"
    if path.is_dir():
        return f"{path} is a folder", f"remove it: rm -r {path}"
    return f"cannot make {path}: {error.strerror or error}", refusals.cure(error, path.parent)


def _is_stopped(process: int) -> bool:
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/stat").read_bytes()
        return status.rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def former() -> tuple[int, ...]:
    """Return the processes that this one started before it was this program, and `forget` knows."""
    with contextlib.suppress(OSError):
        me = os.getpid()
        return tuple(map(int, Path(f"/proc/{me}/task/{me}/children").read_text().split()))
    return ()


def forget(processes: Iterable[int]) -> tuple[int, ...]:
    """Take note of the ends of such processes; return those that have not ended."""
    return tuple(one for one in processes if not _has_ended(one))


def _has_ended(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True


def _started(listener: socket.socket, pipe: socket.socket) -> subprocess.Popen[bytes]:
    fds = listener.fileno(), pipe.fileno()
    # Without the current directory among the places of programs: it may be anybody's.
    return subprocess.Popen(
        (sys.executable, "-P", "-c", _PROGRAM, _PLACE, *map(str, fds)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=fds,
        start_new_session=True,
    )


def _listener(path: Path, group: int | None) -> socket.socket:
    """Return a socket that listens there, in place of what is there; never open to others."""
    for tries in range(_TRIES, 0, -1):
        try:
            return _bound(path, group)
        except FileNotFoundError:
            # The last of others went, and its folder with it.
            if tries == 1:
                raise
    raise AssertionError


def _bound(path: Path, group: int | None) -> socket.socket:
    root = path.parent.parent
    if root.is_dir():
        _remove_dead(root)
    for folder in (root, path.parent):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(_EVERYBODY_LOOKS)
    # Short enough for a socket address, whatever the name of the cluster.
    name = f".{os.getpid()}"
    new = path.parent / name
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        new.unlink(missing_ok=True)
        place = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            one.bind(f"/proc/self/fd/{place}/{name}")
        finally:
            os.close(place)
        stack.callback(new.unlink, missing_ok=True)
        _allow(new, group)
        one.listen(_BACKLOG)
        new.rename(path)
        stack.pop_all()
    return one


def _remove_dead(root: Path) -> None:
    """Remove what daemons left that were killed, also in network namespaces that are gone."""
    for folder in root.iterdir():
        with contextlib.suppress(OSError):
            for one in folder.iterdir():
                # One that is younger may be in the making.
                old = not clock.lately(one.lstat().st_ctime, _DEAD_SECONDS)
                if old and one.is_socket() and not statuspath.is_served(one):
                    one.unlink()
            folder.rmdir()


def _rights(path: Path) -> tuple[int, int]:
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid


def _allow(path: Path, group: int | None) -> None:
    if group is None:
        path.chmod(_OWNERS)
    else:
        os.chown(path, -1, group)
        path.chmod(_OWNERS | _GROUPS)
