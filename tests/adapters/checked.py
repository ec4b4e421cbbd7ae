"""Health checks to make, and servers to make them on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from clusterip.adapters.checks import AnyCheck, Outcome, probe
from clusterip.core.config.model import CommandCheck, HttpCheck, TcpCheck
from clusterip.core.units import SECOND

LOCALHOST = IPv4Address("127.0.0.1")
Talk = Callable[[socket.socket], None]


def tcp(port: int, *, timeout: int = SECOND) -> TcpCheck:
    return TcpCheck(
        name="t", interval=SECOND, timeout=timeout, rise=1, fall=1, address=LOCALHOST, port=port
    )


def http(port: int, *, body: str = "", timeout: int = SECOND, path: str = "/") -> HttpCheck:
    return HttpCheck(
        name="h",
        interval=SECOND,
        timeout=timeout,
        rise=1,
        fall=1,
        address=LOCALHOST,
        port=port,
        host="www.example.org",
        path=path,
        statuses=((200, 299), (404, 404)),
        body=body,
    )


def command(*argv: object, timeout: int = 5 * SECOND, interval: int = 5 * SECOND) -> CommandCheck:
    words = tuple(map(str, argv))
    return CommandCheck(name="c", interval=interval, timeout=timeout, rise=1, fall=1, argv=words)


def shell(script: str, *, timeout: int = 5 * SECOND) -> CommandCheck:
    return command("/bin/sh", "-c", script, timeout=timeout)


def once(check: AnyCheck) -> Outcome:
    """Make a check; it keeps its timeout, and holds up the loop nowhere."""

    async def made() -> Outcome:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        heart = asyncio.create_task(beat())
        began = time.monotonic()
        outcome = await probe(check)
        taken = time.monotonic() - began
        heart.cancel()
        assert taken < check.timeout / SECOND + 0.7
        assert beats >= taken / 0.01 * 0.2 - 5
        return outcome

    outcome = asyncio.run(made())
    assert len(outcome.detail) <= 200
    assert outcome.detail
    assert outcome.detail.isprintable()
    return outcome


@contextlib.contextmanager
def listener(talk: Talk | None) -> Iterator[int]:
    """Listen on a port; talk to the one who connects, or never accept anybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            assert talk
            with server.accept()[0] as one, contextlib.suppress(OSError):
                one.settimeout(10)
                talk(one)

        thread = threading.Thread(target=serve if talk else lambda: None)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def request(one: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += one.recv(4096)
    return data


def answering(answer: bytes) -> Talk:
    """Return what reads a request and answers it, whatever it is."""

    def talk(one: socket.socket) -> None:
        request(one)
        one.sendall(answer)

    return talk


def answered(answer: bytes, body: str = "") -> Outcome:
    with listener(answering(answer)) as port:
        return once(http(port, body=body))


def silent(one: socket.socket) -> None:
    while one.recv(4096):
        pass
