"""The status socket of a daemon, and the program that serves it (`statusprogram`)."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import clusterip
from clusterip.adapters import statuspath

GROUP: Final = "clusterip"
"""Whose members may read it where the file names no group, if there is such a group."""
_PLACE: Final = str(Path(clusterip.__file__).parent.parent)
_BACKLOG: Final = 64
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


class StatusSocket:
    """Listens at the place of a cluster, for a group, and has a program serve who comes.

    Any of this may raise OSError. `pipe` leads to the program: lines, see `statusserver`.
    """

    def __init__(self, cluster: str, group: int | None) -> None:
        self._path = statuspath.path_of(cluster)
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(contextlib.closing(_listener(self._path, group)))
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            self.pipe = ours
            self._inode = self._path.stat().st_ino
            try:
                self._server = _started(listener, theirs, self._path, self._inode)
            except BaseException:
                ours.close()
                self._unlink()
                raise
        self.pipe.setblocking(False)
        self._waiting = bytearray()

    def fileno(self) -> int:
        """Return the descriptor by which the program asks for a snapshot."""
        return self.pipe.fileno()

    def is_there(self) -> bool:
        """Tell whether it is served, at its place."""
        with contextlib.suppress(OSError):
            return self._server.poll() is None and self._path.stat().st_ino == self._inode
        return False

    def let_in(self, group: int | None) -> None:
        """Let the members of a group read it from now on, None for root alone."""
        _allow(self._path, group)

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
        """Tell whether a snapshot is wanted; OSError where the program has ended."""
        try:
            said = self.pipe.recv(1 << 10)
        except BlockingIOError:
            return False
        if not said:
            raise BrokenPipeError
        return True

    def end(self, last: bytes = b"", *, wait: bool = True) -> None:
        """End the program, whose last line is said for a moment at most; remove the socket.

        `wait` is for it to have ended, so that nothing of it is left.
        """
        with contextlib.suppress(OSError):
            self.pipe.settimeout(_END_SECONDS)
            self.pipe.sendall(bytes(self._waiting) + last)
        self.pipe.close()
        self._unlink()
        if wait:
            try:
                self._server.wait(10 * _END_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        else:
            # The successor, in this very process, has it as its child, and takes note of its end.
            self._server.returncode = 0

    def give_up(self) -> None:
        """Kill the program, and remove the socket, without waiting for anything; see `is_over`."""
        self.pipe.close()
        self._unlink()
        self._server.kill()

    def is_over(self) -> bool:
        """Tell whether the program has ended, and take note of it."""
        return self._server.poll() is not None

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
                self._path.parent.rmdir()
                self._path.parent.parent.rmdir()


def forget_former() -> None:
    """Take note of the ends of what this process started before it was this program."""
    with contextlib.suppress(OSError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _started(
    listener: socket.socket, pipe: socket.socket, path: Path, inode: int
) -> subprocess.Popen[bytes]:
    fds = listener.fileno(), pipe.fileno()
    # Wherever this program is installed: it need not be where Python looks by itself.
    places = os.pathsep.join(filter(None, (_PLACE, os.environ.get("PYTHONPATH", ""))))
    # Without the current directory among the places of programs: it may be anybody's.
    return subprocess.Popen(
        (
            *(sys.executable, "-P", "-m", "clusterip.adapters.statusprogram"),
            *(str(fds[0]), str(fds[1]), str(path), str(inode)),
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": places},
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
    for folder in (path.parent.parent, path.parent):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Short enough for a socket address, whatever the name of the cluster.
        name = f".{os.getpid()}"
        new = path.parent / name
        new.unlink(missing_ok=True)
        place = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            one.bind(f"/proc/self/fd/{place}/{name}")
        finally:
            os.close(place)
        _allow(new, group)
        one.listen(_BACKLOG)
        new.rename(path)
    except OSError:
        one.close()
        raise
    return one


def _allow(path: Path, group: int | None) -> None:
    owner = stat.S_IRUSR | stat.S_IWUSR
    path.chmod(owner)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(owner | stat.S_IRGRP | stat.S_IWGRP)
