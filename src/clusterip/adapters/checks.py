"""Health checks: doing one, once or again and again. Nothing here holds up the event loop.

What may block runs in the threads of the loop's default executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import select
import signal
import socket
import stat
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from clusterip.core.config.model import CommandCheck, HttpCheck, TcpCheck
from clusterip.core.config.values import span
from clusterip.core.units import SECOND

AnyCheck = TcpCheck | HttpCheck | CommandCheck

_BODY_BYTES: Final = 1 << 20
"""How much of an answer is searched."""
_OUTPUT_BYTES: Final = 1 << 16
_DETAIL_CHARACTERS: Final = 200
_GRACE_SECONDS: Final = 0.2
"""How long what was given up may take to be gone."""


class Outcome(msgspec.Struct, frozen=True):
    """What a check found; `detail` is one printable line of at most 200 characters."""

    good: bool
    detail: str


Probe = Callable[[AnyCheck], Awaitable[Outcome]]
Report = Callable[[str, Outcome], None]
"""Takes the name of a check and what it found."""


async def probe(check: AnyCheck) -> Outcome:
    """Make a check once; it takes its timeout at most, and hardly longer.

    Nothing that is checked makes this raise. What a command has started is gone afterwards, also
    where this is cancelled.
    """
    try:
        if isinstance(check, CommandCheck):
            return await _command(check)
        return await _connect(check)
    except OSError as error:
        # Of this host, not of what is checked: out of descriptors or memory.
        return _bad(f"cannot be made: {_reason(error)}")
    except Exception as error:  # noqa: BLE001
        # A check that ends in silence would leave the node as healthy as it last was, for good.
        return _bad(f"internal fault: {error!r}")


async def repeat(
    check: AnyCheck,
    report: Report,
    *,
    probe: Probe = probe,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Make a check until cancelled, from start to start its interval, and never twice at once."""
    clock = asyncio.get_running_loop().time
    while True:
        next_start = clock() + check.interval / SECOND
        report(check.name, await probe(check))
        await sleep(max(0.0, next_start - clock()))


@dataclass
class FakeChecks:
    """In place of `probe`, for tests: outcomes by name, bad where there is none."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    async def __call__(self, check: AnyCheck) -> Outcome:
        """Return what was set for the check."""
        self.made.append(check.name)
        return self.outcomes.get(check.name, Outcome(False, "no outcome is set"))


def _good(detail: str) -> Outcome:
    return Outcome(True, _line(detail))


def _bad(detail: str) -> Outcome:
    return Outcome(False, _line(detail))


def _line(text: str) -> str:
    """Return the first line of a text, which may be anybody's, fit for a terminal and a log."""
    lines = text[: 1 << 12].strip().splitlines()
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in (lines[0] if lines else "").strip()
    )
    return shown if len(shown) <= _DETAIL_CHARACTERS else f"{shown[: _DETAIL_CHARACTERS - 3]}..."


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


async def _in_thread(
    work: Callable[[], Outcome | None], give_up: Callable[[], None], ends: float
) -> Outcome | None:
    """Return what `work` does in a thread, None where it is not done at `ends`, a loop time.

    Then, and when this is cancelled, `give_up` is called, and makes it end.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, work)
    try:
        await asyncio.wait({future}, timeout=max(0.0, ends - loop.time()))
        return future.result() if future.done() else None
    finally:
        if not future.done():
            give_up()
            await asyncio.wait({future}, timeout=_GRACE_SECONDS)


# ---- tcp and http ----


async def _connect(check: TcpCheck | HttpCheck) -> Outcome:
    loop = asyncio.get_running_loop()
    ends = loop.time() + check.timeout / SECOND
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setblocking(False)
        try:
            async with asyncio.timeout_at(ends):
                await loop.sock_connect(one, (str(check.address), check.port))
        except TimeoutError:
            return _bad(f"no connection within {span(check.timeout)}")
        except OSError as error:
            return _bad(f"no connection: {_reason(error)}")
        if isinstance(check, TcpCheck):
            return _good("connected")
        one.settimeout(check.timeout / SECOND)
        outcome = await _in_thread(lambda: _get(one, check), lambda: _shut(one), ends)
        return outcome or _bad(f"no answer within {span(check.timeout)}")


def _shut(one: socket.socket) -> None:
    """Let whoever waits for this socket find that nothing more comes."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _get(one: socket.socket, check: HttpCheck) -> Outcome | None:
    """Ask over a connection, and judge the answer; None where none came in time."""
    connection = http.client.HTTPConnection(str(check.address), check.port)
    connection.sock = one
    try:
        connection.putrequest("GET", check.path, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", check.host),
            ("Accept", "*/*"),
            ("User-Agent", "clusterip"),
            ("Connection", "close"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        with connection.getresponse() as response:
            told = f"{response.status} {response.reason}"
            if not any(low <= response.status <= high for low, high in check.statuses):
                return _bad(told)
            if check.body and check.body.encode() not in response.read(_BODY_BYTES):
                return _bad(f"{told}, without the text looked for")
            return _good(told)
    except TimeoutError:
        return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _bad(f"no answer: {_reason(error)}")


# ---- command ----


def obstacle(check: CommandCheck) -> str:
    """Return why the program of a check cannot be started, "" if nothing is known to be in the way.

    PermissionError where that cannot be seen.
    """
    program = check.argv[0]
    try:
        mode = Path(program).stat().st_mode
    except PermissionError:
        raise
    except OSError as error:
        return _reason(error)
    # Root, as whom daemons run, may execute what anybody may, unless the mount forbids it.
    if not stat.S_ISREG(mode):
        return "it is no file"
    if not mode & 0o111 or not (os.geteuid() or os.access(program, os.X_OK)):
        return "it is not executable"
    return ""


async def _command(check: CommandCheck) -> Outcome:
    run = _Run(check)
    ends = asyncio.get_running_loop().time() + check.timeout / SECOND
    outcome = await _in_thread(run.outcome, run.give_up, ends)
    return outcome or _bad(f"not finished within {span(check.timeout)}")


class _Run:
    """One run of a program, in a session and so in a process group of its own."""

    def __init__(self, check: CommandCheck) -> None:
        self._argv = check.argv
        # Somebody else ends it in time; this only ends the wait for what cannot be killed.
        self._ends = time.monotonic() + check.timeout / SECOND + _GRACE_SECONDS / 2
        self._lock = threading.Lock()
        self._group = 0
        """0 before the start, and from when its number may become another's."""
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Kill it, now or as soon as it has started; for another thread."""
        with self._lock:
            self._given_up.set()
            self._kill()

    def outcome(self) -> Outcome:
        """Run it to its end, and kill what it leaves behind."""
        if self._given_up.is_set():
            return _bad("given up before it began")
        output, into = os.pipe()
        try:
            # This returns when the program was opened, which may take long on a network file
            # system: the reason why asyncio, which would do it in the loop's thread, is not used.
            # Nor is subprocess: the signals that wait for the daemon would be blocked there too.
            pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                os.environ,
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, into, 1),
                    (os.POSIX_SPAWN_DUP2, into, 2),
                ),
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except (OSError, ValueError) as error:
            os.close(output)
            return _bad(f"cannot be started: {_reason(error)}")
        finally:
            os.close(into)
        try:
            ended = os.pidfd_open(pid)
        except OSError:
            # Out of descriptors, or of memory: nobody could see it end.
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(output)
            raise
        try:
            with self._lock:
                self._group = pid
                if self._given_up.is_set():
                    self._kill()
            try:
                said = self._collect(ended, output)
            finally:
                with self._lock:
                    self._kill()
                    self._group = 0
            waiting = select.poll()
            waiting.register(ended, select.POLLIN)
            if not waiting.poll(_GRACE_SECONDS / 2 * 1000):
                return _bad("cannot be killed")
        finally:
            os.close(ended)
            os.close(output)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        text = said.decode(errors="backslashreplace").strip()
        if status == 0:
            return _good(text or "exit status 0")
        end = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        return _bad(f"{end}: {text}" if text else end)

    def _kill(self) -> None:
        if self._group:
            with contextlib.suppress(OSError):
                os.killpg(self._group, signal.SIGKILL)

    def _collect(self, ended: int, pipe: int) -> bytes:
        """Return the beginning of the output, when the program of the pidfd `ended` has."""
        output = bytearray()
        os.set_blocking(pipe, False)
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        waiting.register(ended, select.POLLIN)
        while left := max(0.0, self._ends - time.monotonic()):
            ready = dict(waiting.poll(left * 1000))
            # What has ended has said all it will, so its pipe is looked at afterwards.
            if pipe in ready and not _read(pipe, output):
                waiting.unregister(pipe)
            if ended in ready:
                while len(output) < _OUTPUT_BYTES and _read(pipe, output):
                    pass
                break
        return bytes(output)


def _read(pipe: int, output: bytearray) -> bool:
    """Read some, keep what there is room for, and return whether there was anything."""
    try:
        data = os.read(pipe, _OUTPUT_BYTES)
    except BlockingIOError:
        return False
    output += data[: _OUTPUT_BYTES - len(output)]
    return bool(data)
