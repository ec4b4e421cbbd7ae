"""Running commands as in other places: another locale, a terminal of some width, a pipe.

A process is started in the locale; each command is run by a child that it forks, on a
pseudo-terminal or on pipes, with the words as the bytes that a shell would hand over. So Python
itself starts anew only once for each locale.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pty
import selectors
import struct
import subprocess
import sys
import termios
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, NamedTuple

from clusterip.cli.main import main
from tests.cli.conftest import environment


class Said(NamedTuple):
    """How a command ended and the bytes that it wrote."""

    status: int
    out: bytes
    err: bytes


class Elsewhere:
    """The process in a locale.

    `columns` below is the terminal's width, 0 for pipes; `unread` says which of the two pipes,
    out and err, nobody reads.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(
        self,
        *words: bytes,
        columns: int = 0,
        variables: Mapping[str, str] = MappingProxyType({}),
        unread: Sequence[int] = (),
    ) -> Said:
        assert self._process.stdin
        assert self._process.stdout
        encoded = [base64.b64encode(word).decode() for word in words]
        request = {
            "words": encoded,
            "columns": columns,
            "variables": dict(variables),
            "unread": unread,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        status, out, err = json.loads(self._process.stdout.readline())
        return Said(status, base64.b64decode(out), base64.b64decode(err))


_UNSET: Final = ("LANG", "LC_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONIOENCODING", "TERM")


@contextmanager
def elsewhere(variables: Mapping[str, str], folder: bytes) -> Iterator[Elsewhere]:
    """Start a process with these variables, in the caller's network namespace and in `folder`."""
    others = {key: text for key, text in environment().items() if not key.startswith(_UNSET)}
    with subprocess.Popen(
        (sys.executable, "-m", "tests.cli.elsewhere", folder),
        env={**others, "TERM": "xterm-256color", **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Elsewhere(process)
        assert process.stdin
        process.stdin.close()


def _serve() -> None:
    os.chdir(sys.argv[1])
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in requests:
        request = json.loads(line)
        words = [os.fsdecode(base64.b64decode(word)) for word in request["words"]]
        ends = [_end(request["columns"]) for _ in range(2)]
        for number in request["unread"]:
            nothing, closed = os.pipe()
            os.close(closed)
            os.dup2(nothing, ends[number][0])
            os.close(nothing)
        child = os.fork()
        if not child:
            os.environ.update(request["variables"])
            _become(words, ends[0][1], ends[1][1])
        said = _read([ours for ours, _ in ends], [theirs for _, theirs in ends])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        encoded = [base64.b64encode(one).decode() for one in said]
        print(json.dumps([status, *encoded]), file=answers, flush=True)


def _end(columns: int) -> tuple[int, int]:
    if not columns:
        return os.pipe()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    return ours, theirs


def _become(words: list[str], out: int, err: int) -> None:
    """Be the command, with `out` and `err`, opened as Python would at its start."""
    status = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, descriptor, end in (("stdout", 1, out), ("stderr", 2, err)):
            os.dup2(end, descriptor)
            before = getattr(sys, name)
            anew = open(  # noqa: SIM115 - open until the end
                descriptor, "w", encoding=before.encoding, errors=before.errors, closefd=False
            )
            setattr(sys, name, anew)
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - to be seen by the test
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = 120  # as Python does, which says nothing more
        os._exit(status)


def _read(ours: list[int], theirs: list[int]) -> list[bytes]:
    for one in theirs:
        os.close(one)
    said = dict.fromkeys(ours, b"")
    with selectors.DefaultSelector() as selector:
        for one in ours:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                try:
                    some = os.read(key.fd, 65536)
                except OSError:  # a terminal that nobody has open any more
                    some = b""
                said[key.fd] += some
                if not some:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return list(said.values())


if __name__ == "__main__":
    _serve()
