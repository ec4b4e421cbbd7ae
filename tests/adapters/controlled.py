"""A daemon's socket, and who is at either end of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clusterip.adapters import controlserver, runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.core.messages.answer import Answer, Changes

NAME = "web"


ECHO = Changes(['{"verb": "reload"}\n'])
"""What `echo` answers to a reload."""


async def echo(raw: bytes, _: controlserver.Begin) -> Answer:
    return Changes([raw.decode()])


def with_daemon(
    work: Callable[[], Any], handler: controlserver.Handler = echo, cluster: str = NAME
) -> Any:
    """Return what `work` does while a daemon of the cluster answers."""

    async def run() -> Any:
        async with controlserver.serving(cluster, handler):
            return await asyncio.to_thread(work)

    with RunFiles(cluster).claimed():
        return asyncio.run(run())


def raw(said: bytes) -> bytes:
    """Say something to the daemon and nothing more; return all that it answers."""
    with (
        runfiles.control_path(NAME) as path,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one,
    ):
        one.connect(path)
        with contextlib.suppress(BrokenPipeError):
            one.sendall(said)
            one.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := one.recv(1 << 16):
                answer += more
        return answer


def say(one: socket.socket, words: bytes) -> None:
    """Hear a request, or a part of it, and answer."""
    one.recv(100)
    one.sendall(words)


@contextlib.contextmanager
def impostor(talk: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listen in place of the daemon; `talk` is given the one connection that is made."""
    with (
        RunFiles(NAME).claimed(),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        ThreadPoolExecutor(1) as thread,
    ):
        with runfiles.control_path(NAME) as path:
            listener.bind(path)
        listener.listen()

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                talk(connection)

        done = thread.submit(once)
        yield
        done.result(10)
