"""Asking the daemon of a cluster: one JSON object a line over a unix socket, one in return.

The socket lies in a folder that only root may enter, so whoever can ask may ask for anything.

What is reported as not done is not done later. Who answers says one blank, which JSON ignores,
before it acts; who gives up stops receiving. The kernel puts the two in an order: either the blank
was there, and it is said that the daemon began, or it cannot be sent, and the request is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, overload

from clusterip.adapters import runfiles
from clusterip.adapters.telling import note
from clusterip.core.errors import ClusterIPError, SystemFaultError, UsageError
from clusterip.core.events import Level
from clusterip.core.messages import answer as answers
from clusterip.core.messages.answer import Answer, Changes, Done, Failed
from clusterip.core.messages.request import LONGEST, Reload, Request, Restart, Show, Steering
from clusterip.core.status import Status

START_IT: Final = (
    "start it: systemctl start clusterip, or `clusterip run`; one just started takes some seconds"
)
"""The cure where no daemon runs."""
_ASK: Final = "ask with the commands of clusterip"
_BEGUN: Final = b" "
_LONGEST_ANSWER: Final = 1 << 22
_READ: Final = 1 << 16
_PATIENCE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 1.0
_SOON_SECONDS: Final = 0.02
_BACKLOG: Final = 100
_QUIET_SECONDS: Final = 60.0
_AT_ONCE: Final = 4
"""How many are answered at a time, for the daemon needs descriptors itself: the others wait."""

Begin = Callable[[], None]
"""To be called before anything is changed; GivenUpError, and nothing may be, if nobody waits."""
Handler = Callable[[bytes, Begin], Awaitable[Answer]]
"""Answers a request, a line; what it raises as ClusterIPError is raised at the one who asked."""


class GivenUpError(Exception):
    """Whoever asked does not wait for the answer any more."""


@overload
def ask(cluster: str, request: Show, *, patience: float = ...) -> Status: ...
@overload
def ask(cluster: str, request: Reload, *, patience: float = ...) -> Changes: ...
@overload
def ask(cluster: str, request: Restart | Steering, *, patience: float = ...) -> Done: ...
def ask(cluster: str, request: Request, *, patience: float = _PATIENCE_SECONDS) -> Answer:
    """Return the daemon's answer; the daemon's own errors are raised here.

    SystemFaultError if no daemon runs, or none answers within `patience` seconds: what was asked
    is not done, nor will be, unless the error says that it was begun.
    """
    line = _asked(cluster, answers.encode(request), patience)
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


def _asked(cluster: str, request: bytes, patience: float) -> bytes:
    """Return the line that the daemon answers; errors as `ask` says."""
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
            raise SystemFaultError(
                f"the daemon of cluster {cluster} is starting or ending, or lost its socket:"
                " no command can reach it",
                "ask again in some seconds; if that lasts and it was not told to stop, its log says"
                " why, and a restart makes its socket anew: systemctl restart clusterip",
            ) from error
        there = ", ".join(runfiles.running())
        raise SystemFaultError(
            f"no daemon of cluster {cluster} runs in this network namespace",
            f"daemons that run here: {there}; or {START_IT}" if there else START_IT,
        ) from error
    except TimeoutError as error:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} does not answer",
            "what was asked is not done, nor will be; it may be stopped, starved, or busy with"
            " others who ask: see its log, and try again",
        ) from error
    except (ConnectionResetError, BrokenPipeError):
        line = b""
    if line == _BEGUN:
        raise SystemFaultError(
            f"the daemon of cluster {cluster} began with what was asked, and does not say whether"
            " it is done",
            "see with `clusterip show`, when the daemon answers again, and in its log",
        )
    if not line.endswith(b"\n"):
        raise SystemFaultError(
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


@contextlib.asynccontextmanager
async def serving(cluster: str, handler: Handler) -> AsyncIterator[None]:
    """Answer requests for as long as the context lasts.

    What the handler raises otherwise goes to the exception handler of the loop. Where no socket
    can be made, the disk being full, that is said, and tried again and again. One that somebody
    removes is made anew.
    """

    async def listen() -> None:
        said = ""
        while True:
            try:
                with runfiles.control_path(cluster) as path:
                    listener, ours = _listener(path)
            except OSError as error:
                if said != str(error):
                    note(f"no command can reach this daemon: {error}", Level.ERROR)
                said = str(error)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            with listener:
                ready.set()
                accepting = asyncio.ensure_future(_accept(listener, partial(_converse, handler)))
                try:
                    while not accepting.done() and _is_there(cluster, ours):
                        await asyncio.wait({accepting}, timeout=_AGAIN_SECONDS)
                finally:
                    accepting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await accepting

    ready = asyncio.Event()
    listening = asyncio.ensure_future(listen())
    # Who finds the daemon ready may ask it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AGAIN_SECONDS):
            await ready.wait()
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


def _is_there(cluster: str, ours: os.stat_result) -> bool:
    """Tell whether our socket is where it is looked for; somebody may have removed it."""
    with contextlib.suppress(OSError), runfiles.control_path(cluster) as path:
        return os.path.samestat(Path(path).stat(), ours)
    return False


def _listener(path: str) -> tuple[socket.socket, os.stat_result]:
    """Return a socket that listens there, and its file; what an earlier daemon left is replaced."""
    if Path(path).is_socket():
        Path(path).unlink()
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        one.bind(path)
        one.listen(_BACKLOG)
        return one, Path(path).stat()
    except OSError:
        one.close()
        raise


async def _accept(
    listener: socket.socket, converse: Callable[[socket.socket], Coroutine[Any, Any, None]]
) -> None:
    """Converse with whoever comes, for ever, and with `_AT_ONCE` at a time."""
    loop = asyncio.get_running_loop()
    free = asyncio.Semaphore(_AT_ONCE)
    talks: set[asyncio.Task[None]] = set()
    quiet_until = loop.time()

    def over(talk: asyncio.Task[None]) -> None:
        talks.discard(talk)
        free.release()

    while True:
        await free.acquire()
        try:
            one, _ = await loop.sock_accept(listener)
        except OSError as error:
            free.release()
            # Out of descriptors, or of memory.
            if loop.time() >= quiet_until:
                note(f"commands have to wait: {error}", Level.WARNING)
            quiet_until = loop.time() + _QUIET_SECONDS
            await asyncio.sleep(_AGAIN_SECONDS)
            continue
        talk = asyncio.ensure_future(converse(one))
        talks.add(talk)
        talk.add_done_callback(over)


async def _converse(handler: Handler, one: socket.socket) -> None:
    """Answer the one request that comes."""
    try:
        reader, writer = await asyncio.open_unix_connection(sock=one, limit=LONGEST)
    except OSError:
        one.close()
        return
    try:
        try:
            answer = await _answer(reader, handler, partial(_begin, one))
        except Exception as error:  # noqa: BLE001 - asyncio would keep it until nobody asks for it
            words = {"message": "answering a request", "exception": error}
            asyncio.get_running_loop().call_exception_handler(words)
            return
        # Whoever asked may have gone away, or not read: nobody to tell.
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(answer)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
    finally:
        writer.transport.abort()  # is closed by now, unless this was cut short


def _begin(one: socket.socket) -> None:
    try:
        one.send(_BEGUN)
    except OSError as error:
        raise GivenUpError from error


async def _answer(reader: asyncio.StreamReader, handler: Handler, begin: Begin) -> bytes:
    """Return the answer to the request that comes, nothing where none does, or nobody waits."""
    line = b""
    answer: Answer | Failed | None
    try:
        line = await _line(reader)
        answer = await handler(line, begin) if line else None
    except GivenUpError:
        what = line.decode().strip()
        note(f"not done, for who asked has given up: {what}", Level.WARNING)
        return b""
    except ClusterIPError as error:
        answer = answers.failed(error)
    return b"" if answer is None else answers.encode(answer)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return what is said; UsageError if that is no line."""
    try:
        line = await asyncio.wait_for(reader.readline(), _PATIENCE_SECONDS)
    except ValueError as error:
        raise UsageError(f"a request has at most {LONGEST} bytes", _ASK) from error
    except (OSError, TimeoutError):
        return b""
    if line and not line.endswith(b"\n"):
        raise UsageError("a request ends with its line: this one is cut off", _ASK)
    return line
