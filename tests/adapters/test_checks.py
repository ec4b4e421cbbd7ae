"""Health checks against real listeners and real programs, the well-behaved and the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from clusterip.adapters.checks import AnyCheck, FakeChecks, Outcome, probe, repeat
from clusterip.core.config.model import CommandCheck, HttpCheck, TcpCheck
from clusterip.core.lease.timing import MILLISECOND, SECOND

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


@pytest.fixture(autouse=True)
def no_leak() -> Iterator[None]:
    """Hold every test to leaving no descriptor, no thread and no zombie."""

    def held() -> tuple[list[str], int, list[str]]:
        return (
            sorted(one.name for one in Path("/proc/self/fd").iterdir()),
            threading.active_count(),
            Path(f"/proc/self/task/{os.getpid()}/children").read_text().split(),
        )

    before = held()
    yield
    assert held() == before


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


def silent(one: socket.socket) -> None:
    while one.recv(4096):
        pass


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


# command


def test_exit_status() -> None:
    assert once(command("/bin/true")) == Outcome(True, "exit status 0")
    assert once(command("/bin/false")) == Outcome(False, "exit status 1")
    assert once(shell("kill -9 $$")) == Outcome(False, "killed by signal 9")


@pytest.mark.parametrize(
    ("script", "good", "detail"),
    [
        ("echo fine; echo more", True, "fine"),
        ("printf fine", True, "fine"),
        ("echo wrong >&2; exit 3", False, "exit status 3: wrong"),
        ("printf '\\n\\n  late\\n'", True, "late"),
        ("printf 'a\\001\\377b\\tc'", True, "a\\x01\\xffb\\tc"),
        ("printf '\\300\\200'", True, "\\xc0\\x80"),
        ("cat; echo end of input", True, "end of input"),
        ("echo $PATH", True, os.environ["PATH"][:200]),
    ],
)
def test_output(script: str, good: bool, detail: str) -> None:
    assert once(shell(script)) == Outcome(good, detail)


def test_much_output() -> None:
    outcome = once(shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 4"))
    assert not outcome.good
    assert outcome.detail.startswith("exit status 4: xxxx")
    assert once(command("/usr/bin/yes", timeout=200 * MILLISECOND)).good is False


def test_what_cannot_be_started(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    told = "cannot be started: "
    assert once(command(plain)) == Outcome(False, f"{told}Permission denied")
    plain.chmod(stat.S_IRWXU)
    plain.write_text("#!/no/such\n")
    assert once(command(plain)) == Outcome(False, f"{told}No such file or directory")
    plain.write_text("?")
    assert once(command(plain)) == Outcome(False, f"{told}Exec format error")
    assert once(command(tmp_path / "none")) == Outcome(False, f"{told}No such file or directory")
    assert not once(command("/bin/echo", "x" * 200_000)).good


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_ends(file: Path, count: int) -> None:
    """Check that the processes whose numbers a script wrote down are gone, at once or nearly."""
    numbers = [int(word) for word in file.read_text().split()]
    assert len(numbers) == count
    until = time.monotonic() + 2
    while any(map(is_alive, numbers)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(is_alive, numbers))


def test_timeout_ends_the_children_too(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"trap '' TERM INT; sleep 60 & echo $$ $! > {file}; wait; sleep 60"
    outcome = once(shell(script, timeout=400 * MILLISECOND))
    assert outcome == Outcome(False, "not finished within 400ms")
    assert_ends(file, 2)


def test_what_a_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    # The child holds the output open, which nobody is to wait for.
    assert once(shell(f"sleep 60 & echo $! > {file}; echo ok")) == Outcome(True, "ok")
    assert_ends(file, 1)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("again", [False, True])
def test_a_cancelled_command_is_ended(tmp_path: Path, again: bool) -> None:
    file = tmp_path / "pids"
    check = shell(f"sleep 60 & echo $$ $! > {file}; wait", timeout=60 * SECOND)

    async def cancel() -> None:
        work: Awaitable[object] = repeat(check, lambda *_: None) if again else probe(check)
        task = asyncio.ensure_future(work)
        await until(lambda: file.exists() and len(file.read_text().split()) == 2)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1

    asyncio.run(cancel())
    assert_ends(file, 2)


def test_a_command_cancelled_at_any_time(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    file.touch()
    check = shell(f"echo $$ >> {file}; sleep 60", timeout=60 * SECOND)

    async def cancel() -> None:
        for wait in range(20):
            task = asyncio.ensure_future(probe(check))
            await asyncio.sleep(wait / 4000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert_ends(file, len(file.read_text().split()))


def test_a_cancelled_request_is_ended() -> None:
    async def cancel(port: int) -> None:
        task = asyncio.ensure_future(probe(http(port, timeout=60 * SECOND)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with listener(silent) as port:
        began = time.monotonic()
        asyncio.run(cancel(port))
    assert time.monotonic() - began < 2


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
