"""Health checks against real listeners, the well-behaved and the others."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from clusterip.adapters.checks import AnyCheck, FakeChecks, Outcome, probe, repeat
from clusterip.core.units import MILLISECOND
from tests.adapters.checked import answered, command, http, listener, once, request, silent, tcp

pytestmark = pytest.mark.usefixtures("no_leak")


@pytest.fixture
def refused() -> Iterator[int]:
    """A port that is bound, so that nobody gets it, and does not listen."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose queue is full: who connects gets no answer."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port


# tcp


def test_tcp() -> None:
    with listener(None) as port:
        assert once(tcp(port)) == Outcome(True, "connected")


@pytest.mark.parametrize("make", [tcp, http])
def test_refused(refused: int, make: Callable[[int], AnyCheck]) -> None:
    assert once(make(refused)) == Outcome(False, "no connection: Connection refused")


@pytest.mark.parametrize("check", [tcp, http])
def test_no_connection_in_time(full: int, check: Callable[..., AnyCheck]) -> None:
    outcome = once(check(full, timeout=200 * MILLISECOND))
    assert outcome == Outcome(False, "no connection within 200ms")


# http


def test_http_and_what_is_asked() -> None:
    asked = []

    def talk(one: socket.socket) -> None:
        asked.append(request(one))
        one.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listener(talk) as port:
        assert once(http(port, path="/health?deep=1")) == Outcome(True, "204 No Content")
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "GET /health?deep=1 HTTP/1.1"
    assert lines.count("Host: www.example.org") == 1
    assert "Connection: close" in lines


@pytest.mark.parametrize(
    ("status", "good"),
    [
        ("200 OK", True),
        ("299", True),
        ("404 Not Found", True),
        ("301 Moved", False),
        ("503", False),
    ],
)
def test_status(status: str, good: bool) -> None:
    answer = f"HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    outcome = answered(answer.encode())
    assert outcome.good is good
    assert outcome.detail.startswith(status)


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (b"Content-Length: 10\r\n\r\nit is \xc3\xa4ok", True),
        (b"\r\nit is \xc3\xa4ok", True),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\n  \xc3\xa4\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"Content-Length: 100\r\n\r\n\xc3\xa4ok", True),
        (b"Content-Length: 2\r\n\r\nno", False),
        (b"Content-Length: 0\r\n\r\n", False),
        (b"\r\n" + bytes(1 << 19) + b"\xc3\xa4ok", True),
        (b"\r\n" + bytes(1 << 20) + b"\xc3\xa4ok", False),
        (b"\r\n" + bytes(20 << 20), False),
    ],
)
def test_body(answer: bytes, good: bool) -> None:
    outcome = answered(b"HTTP/1.1 200 OK\r\n" + answer, "äok")
    assert outcome == Outcome(good, "200 OK" + ("" if good else ", without the text looked for"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x00\xff\x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
    ],
)
def test_no_http(answer: bytes) -> None:
    assert not answered(answer, "ok").good


def test_an_answer_that_disturbs_a_terminal() -> None:
    outcome = answered(b"HTTP/1.1 200 \x1b[31m" + b"x" * 300 + b"\r\nContent-Length: 0\r\n\r\n")
    assert outcome.good
    assert outcome.detail.startswith("200 \\x1b[31mxxx")
    assert outcome.detail.endswith("...")


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["1", "2", "3"]
)
def test_a_server_that_dribbles(head: bytes) -> None:
    def dribble(one: socket.socket) -> None:
        one.sendall(head)
        while True:
            one.sendall(b"H")
            time.sleep(0.05)

    with listener(dribble) as port:
        outcome = once(http(port, body="ok", timeout=300 * MILLISECOND))
    assert outcome == Outcome(False, "no answer within 300ms")


def test_a_server_that_is_silent() -> None:
    with listener(silent) as port:
        outcome = once(http(port, timeout=200 * MILLISECOND))
    assert outcome == Outcome(False, "no answer within 200ms")


def test_a_server_that_is_silent_and_a_busy_loop() -> None:
    """The thread sees the end of its time before the loop does; the words are the same."""

    async def made(port: int) -> Outcome:
        asyncio.get_running_loop().call_later(0.1, time.sleep, 0.4)
        return await probe(http(port, timeout=200 * MILLISECOND))

    with listener(silent) as port:
        assert asyncio.run(made(port)) == Outcome(False, "no answer within 200ms")


# Again and again.


def test_repeat() -> None:
    """The interval is from start to start; checks that take longer do not pile up."""
    slept: list[float] = []
    told: list[tuple[str, Outcome]] = []
    taken = iter([0.0, 0.1, 0.4])
    fake = FakeChecks({"c": Outcome(True, "fine")})

    async def slow(check: AnyCheck) -> Outcome:
        await asyncio.sleep(next(taken))
        return await fake(check)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    check = command("/bin/true", interval=300 * MILLISECOND)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(repeat(check, lambda *one: told.append(one), probe=slow, sleep=sleep))
    assert slept == pytest.approx([0.3, 0.2, 0.0], abs=0.08)
    assert told == [("c", Outcome(True, "fine"))] * 3
    assert fake.made == ["c"] * 3


def test_a_fake_without_an_outcome_is_bad() -> None:
    assert not asyncio.run(FakeChecks()(tcp(1))).good


def test_a_fault_of_our_own_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("clusterip.adapters.checks._connect", broken)
    assert asyncio.run(probe(tcp(1))) == Outcome(False, "internal fault: RuntimeError('broken')")


@pytest.mark.parametrize("check", [tcp(1), http(1), command("/bin/true")], ids=lambda one: one.name)
def test_without_descriptors_none_can_be_made(check: AnyCheck) -> None:
    async def made() -> Outcome:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            return await probe(check)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert asyncio.run(made()) == Outcome(False, "cannot be made: Too many open files")
