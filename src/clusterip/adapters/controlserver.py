"""Answering what is asked by `control`, which says how the two converse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from clusterip.adapters import runfiles
from clusterip.adapters.control import BEGUN, PATIENCE_SECONDS
from clusterip.adapters.seconds import next_second
from clusterip.adapters.telling import note
from clusterip.core.errors import ClusterIPError, UsageError
from clusterip.core.events import Level
from clusterip.core.messages import answer as answers
from clusterip.core.messages.answer import Answer, Failed
from clusterip.core.messages.request import LONGEST

_ASK: Final = "ask with the commands of clusterip"
_AGAIN_SECONDS: Final = 1.0
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
                        wait = next_second() - asyncio.get_running_loop().time()
                        await asyncio.wait({accepting}, timeout=wait)
                finally:
                    await _ended(accepting)

    ready = asyncio.Event()
    listening = asyncio.ensure_future(listen())
    # Who finds the daemon ready may ask it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AGAIN_SECONDS):
            await ready.wait()
    try:
        yield
    finally:
        await _ended(listening)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; what it failed with is raised.

    That it was cancelled is not: awaited itself, it would look as if whoever waits were meant.
    """
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


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
            async with asyncio.timeout(PATIENCE_SECONDS):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
    finally:
        writer.transport.abort()  # is closed by now, unless this was cut short


def _begin(one: socket.socket) -> None:
    try:
        one.send(BEGUN)
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
        line = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
    except ValueError as error:
        raise UsageError(f"a request has at most {LONGEST} bytes", _ASK) from error
    except (OSError, TimeoutError):
        return b""
    if line and not line.endswith(b"\n"):
        raise UsageError("a request ends with its line: this one is cut off", _ASK)
    return line
