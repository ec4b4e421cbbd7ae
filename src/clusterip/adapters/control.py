"""Asking the daemon of a cluster: one JSON object a line over a unix socket, one in return.

The socket lies in a folder that only root may enter, so whoever can ask may ask for anything. Who
answers is `controlserver`.

What is reported as not done is not done later. Who answers says one blank, which JSON ignores,
before it acts; who gives up stops receiving. The kernel puts the two in an order: either the blank
was there, and it is said that the daemon began, or it cannot be sent, and the request is dropped.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final, overload

from clusterip.adapters import runfiles
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages import answer as answers
from clusterip.core.messages.answer import Answer, Changes, Done
from clusterip.core.messages.request import Reload, Request, Restart, Show, Steering
from clusterip.core.status import Status

START_IT: Final = (
    "start it: systemctl start clusterip, or `clusterip run`; one just started takes some seconds"
)
"""The cure where no daemon runs."""
BEGUN: Final = b" "
"""What is answered before anything is changed."""
_NOT_DONE: Final = (
    "what was asked is not done, nor will be; it may be stopped, starved, or busy with others who"
    " ask: see its log, and try again"
)
_LOOKED: Final = (
    "it may be stopped, starved, or busy with others who ask: see systemctl status clusterip and"
    " journalctl -u clusterip, and try again; if it lasts: systemctl restart clusterip"
)
"""The cure where somebody only looked."""
_LONGEST_ANSWER: Final = 1 << 22
_READ: Final = 1 << 16
PATIENCE_SECONDS: Final = 10.0
_SOON_SECONDS: Final = 0.02
RESTART_SECONDS: Final = 5.0
"""How long a daemon that runs, but cannot be asked, is waited for: a planned restart is shorter."""


class _NobodyError(SystemFaultError):
    """Nobody was asked, though that may be over in a moment."""


class _LostError(_NobodyError):
    """Who was asked ended, and did not begin."""


@overload
def ask(cluster: str, request: Show, *, patience: float = ...) -> Status: ...
@overload
def ask(cluster: str, request: Reload, *, patience: float = ...) -> Changes: ...
@overload
def ask(cluster: str, request: Restart | Steering, *, patience: float = ...) -> Done: ...
def ask(cluster: str, request: Request, *, patience: float = PATIENCE_SECONDS) -> Answer:
    """Return the daemon's answer; the daemon's own errors are raised here.

    SystemFaultError if no daemon runs, or none answers within `patience` seconds: what was asked
    is not done, nor will be, unless the error says that it was begun.
    """
    silent = _LOOKED if isinstance(request, Show) else _NOT_DONE
    line = _asked(cluster, answers.encode(request), patience, silent)
    try:
        match request:
            case Show():
                return answers.read(line, Status)
            case Reload():
                return answers.read(line, Changes)
            case _:
                return answers.read(line, Done)
    except ValueError as error:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} answers what this program does not know: {error}",
            "have it run the program that is installed now: clusterip restart",
        ) from error


def _asked(cluster: str, request: bytes, patience: float, silent: str) -> bytes:
    """Return the line that the daemon answers; errors as `ask` says, `silent` is a cure.

    Over a planned restart it is waited, and its successor is asked.
    """
    begun = time.monotonic()
    while True:
        left = begun + patience - time.monotonic()
        try:
            return _asked_once(cluster, request, max(left, _SOON_SECONDS), silent)
        except _NobodyError as error:
            lost = isinstance(error, _LostError)
            comes = (runfiles.is_handed_over if lost else runfiles.is_running)(cluster)
            if not comes or time.monotonic() >= begun + min(patience, RESTART_SECONDS):
                raise
            time.sleep(_SOON_SECONDS)


def _asked_once(cluster: str, request: bytes, patience: float, silent: str) -> bytes:
    gives_up = time.monotonic() + patience
    try:
        with (
            runfiles.control_path(cluster) as path,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
        ):
            one.settimeout(patience)
            _connect(one, path, gives_up)
            one.sendall(request)
            line = _answer_to(one, gives_up)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if runfiles.is_running(cluster):
            raise _NobodyError(
                f"the daemon of cluster {cluster} is starting or ending, or lost its socket:"
                " no command can reach it",
                "ask again in some seconds; if that lasts and it was not told to stop, its log says"
                " why, and a restart makes its socket anew: systemctl restart clusterip",
            ) from error
        there = ", ".join(runfiles.running())
        raise _NobodyError(
            f"no daemon of cluster {cluster} runs in this network namespace",
            f"daemons that run here: {there}; or {START_IT}" if there else START_IT,
        ) from error
    except TimeoutError as error:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} does not answer",
            silent,
        ) from error
    except (ConnectionResetError, BrokenPipeError):
        line = b""
    if line == BEGUN:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} began with what was asked, and does not say whether"
            " it is done",
            "see with `clusterip show`, when the daemon answers again, and in its log",
        )
    if not line.endswith(b"\n"):
        # What began to answer did what was asked; who said nothing did not.
        raise (SystemFaultError if line else _LostError)(
            f"the daemon of cluster {cluster} ended before it answered",
            "see why in its log, and ask again when it runs: journalctl -u clusterip",
        )
    return line


def _answer_to(one: socket.socket, gives_up: float) -> bytes:
    """Return the line that comes, or what came of it; TimeoutError, and for good, if nothing.

    Return b"" where it is known that no more comes.
    """
    said = bytearray()
    while not said.endswith(b"\n") and len(said) < _LONGEST_ANSWER:
        left = gives_up - time.monotonic()
        if left > 0:
            one.settimeout(left)
            with contextlib.suppress(TimeoutError):
                more = one.recv(_READ)
                if not more:
                    return b""
                said += more
        else:
            one.shutdown(socket.SHUT_RD)
            # What came until then is still there, and nothing follows.
            one.settimeout(None)
            while more := one.recv(_READ):
                said += more
            if not said:
                raise TimeoutError
            break
    return bytes(said)


def _connect(one: socket.socket, path: str, gives_up: float) -> None:
    """Connect; where too many wait already the kernel says so at once, and it is tried again."""
    while True:
        try:
            one.connect(path)
        except BlockingIOError:
            if time.monotonic() >= gives_up:
                raise TimeoutError from None
            time.sleep(_SOON_SECONDS)
        else:
            return
