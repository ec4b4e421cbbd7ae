"""What nobody foresaw, put into a real daemon: it closes, and ends. One that hangs is seen to.

The daemons here run a program that breaks functions of their own as soon as a file is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import FAULT, SystemFaultError
from clusterip.runtime.failing import Failing
from tests.namespaces import tc
from tests.runtime.places import Daemon, Place
from tests.served import until

root = pytest.mark.root("BPF and namespaces")

PROGRAM = """
import sys, time
from pathlib import Path
from clusterip.adapters.kernel_maps import KernelMaps
from clusterip.adapters.linkwatch import LinkWatch
from clusterip.adapters.systemd import Watchdog
from clusterip.runtime.checking import Checking
from clusterip.runtime.daemon import Daemon
from clusterip.runtime.agent import Agent
from clusterip.runtime.requests import Requests

def raises(error):
    raise error
def forever():
    return forever()
def hangs():
    while True: pass
def break_it(place, name, fault):
    real = getattr(place, name)
    def broken(*arguments, **named):
        if Path({file!r}).exists():
            fault()
        return real(*arguments, **named)
    setattr(place, name, broken)
{breaks}
from clusterip.cli.main import main
sys.exit(main())
"""
CHECKED = """\
[[check]]
name = "always"
type = "command"
command = ["/bin/true"]
interval = "200ms"
timeout = "100ms"

[[node]]"""
A_FAULT = "lambda: raises(KeyError('a fault'))"


def spoilt(place: Place, *breaks: str) -> Daemon:
    """Return a daemon that serves, and in which these functions are about to fail."""
    place.change("[[node]]", CHECKED)
    lines = "\n".join(f"break_it({one})" for one in breaks)
    place.program = ("-c", PROGRAM.format(file=str(place.folder / "now"), breaks=lines))
    return place.serving()


def spoil(place: Place) -> None:
    """Have them fail; something happens, too."""
    (place.folder / "now").touch()
    tc("qdisc replace dev wire root pfifo")


@root
@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ("Agent, 'timer', lambda: raises(MemoryError)", FAULT),
        ("Agent, 'timer', forever", FAULT),
        ("Agent, 'timer', lambda: raises(OSError(24, 'Too many open files'))", 4),
        (f"LinkWatch, 'drain', {A_FAULT}", FAULT),
        (f"Checking, '_result', {A_FAULT}", FAULT),
        (f"Watchdog, 'feed', {A_FAULT}", FAULT),
    ],
)
def test_a_fault_ends_it(place: Place, broken: str, status: int) -> None:
    before = place.traces()
    daemon = spoilt(place, broken)
    spoil(place)
    assert daemon.ended() == status, daemon.said
    assert "a fault of clusterip, please report it" in daemon.said
    assert "Traceback" in daemon.said
    # What systemd starts next finds nothing, and takes nobody's promise for void.
    assert place.traces() == before
    assert runfiles.running() == ()
    assert RunFiles("web").note()


@root
def test_a_fault_of_a_signal_handler_and_of_a_request(place: Place) -> None:
    daemon = spoilt(place, f"Daemon, '_reload', {A_FAULT}")
    spoil(place)
    daemon.tell(signal.SIGHUP)
    assert daemon.ended() == FAULT
    (place.folder / "now").unlink()
    daemon = place.start()
    until(lambda: runfiles.running() == ("web",))
    place.await_status("READY=1")
    (place.folder / "now").touch()
    with pytest.raises(SystemFaultError, match="ended before it answered"):
        place.ask("reload")
    assert daemon.ended() == FAULT


@root
def test_what_cannot_even_close_ends(place: Place) -> None:
    """The kernel's deadline is over by then."""
    daemon = spoilt(
        place,
        f"Agent, 'timer', {A_FAULT}",
        f"KernelMaps, 'set_deadline', {A_FAULT}",
        "Checking, 'stop', lambda: time.sleep(60)",
    )
    spoil(place)
    began = time.monotonic()
    assert daemon.ended() == FAULT
    assert time.monotonic() - began < 15
    assert "could not close: the kernel does" in daemon.said
    assert "something does not end: ending without it" in daemon.said


@root
def test_one_that_hangs_is_not_fed_and_can_be_aborted(place: Place) -> None:
    place.environment["WATCHDOG_USEC"] = "800000"
    daemon = spoilt(place, "Agent, 'timer', hangs")
    for _ in range(5):
        place.await_status("WATCHDOG=1")
    spoil(place)
    starved(place)
    # As systemd does; the log says where it was.
    daemon.tell(signal.SIGABRT)
    assert daemon.ended() == -signal.SIGABRT
    assert "in hangs" in daemon.said


@root
def test_one_that_is_stopped_is_not_fed(place: Place) -> None:
    place.environment["WATCHDOG_USEC"] = "800000"
    daemon = place.serving()
    place.await_status("WATCHDOG=1")
    daemon.tell(signal.SIGSTOP)
    starved(place)
    daemon.tell(signal.SIGCONT)
    place.await_status("WATCHDOG=1")
    assert daemon.stop() == 0


def starved(place: Place) -> None:
    """Wait until nothing is said for as long as the watchdog waits."""
    place.manager.settimeout(0.8)
    for _ in range(10):
        try:
            place.told()
        except TimeoutError:
            place.manager.settimeout(20)
            return
    raise AssertionError("it is fed")


@root
def test_out_of_descriptors_commands_wait_and_nothing_else(place: Place) -> None:
    daemon = place.serving()
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    with runfiles.control_path("web") as path, socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
        daemon.await_line("commands have to wait: ")
        for _ in range(3):
            tc("qdisc replace dev wire root pfifo")
            tc("qdisc delete dev wire root")
        sent = daemon.process.poll()
        assert sent is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert place.show()["alarms"]["starved"] == 0
    assert daemon.stop() == 0
    assert daemon.said.count("commands have to wait: ") == 1
    assert "is gone" not in daemon.said


TCP_CHECKED = """\
[[check]]
name = "here"
type = "tcp"
port = {port}
interval = "200ms"
timeout = "100ms"

"""


@root
def test_idle_connections_and_few_descriptors_cost_no_bucket(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        checks = TCP_CHECKED.format(port=server.getsockname()[1]) + CHECKED
        place.change("[[node]]", checks)
        daemon = place.serving()
        pid = daemon.process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        few = max(int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()) + 1 + 32
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, most))
        path = stack.enter_context(runfiles.control_path("web"))
        for _ in range(40):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        for _ in range(5):
            # It looks at its interface, and makes its checks.
            tc("qdisc replace dev wire root pfifo")
            tc("qdisc delete dev wire root")
            for _ in range(4):
                server.accept()[0].close()
        stack.pop_all().close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few + 1000, most))
        until(lambda: place.show()["held"] == [1, 2, 3, 4])
        assert daemon.stop() == 0
    for wrong in ("is gone", "not in our control", "UNHEALTHY", "is down", "Too many open"):
        assert wrong not in daemon.said, daemon.said


@root
def test_a_bad_request_changes_nothing(place: Place) -> None:
    daemon = place.serving()
    before = place.show()
    with pytest.raises(Exception, match=r"`value` must be 0\.\.255"):
        place.ask("weight", value=-1)
    after = place.show()
    for key in ("boot", "held", "nodes"):
        assert _still(after[key]) == _still(before[key])
    until(lambda: place.show()["messages"]["sent"] > after["messages"]["sent"])
    assert daemon.stop() == 0


def _still(value: Any) -> Any:
    """Return a value without the times in it."""
    if isinstance(value, list):
        return [_still(one) for one in value]
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if not key.endswith("seconds")}
    return value


# ---- without a daemon ----


def ended(*faults: BaseException | None, close: Any = lambda: None) -> Failing:
    """Return what became of it after tasks that end so."""

    async def task(fault: BaseException | None) -> None:
        if fault:
            raise fault

    async def run() -> Failing:
        failing = Failing(close)
        asyncio.get_running_loop().set_exception_handler(failing.caught)
        for fault in faults:
            failing.start(task(fault))
        async with asyncio.timeout(5):
            await failing.ended.wait()
        return failing

    return asyncio.run(run())


def test_the_first_fault_counts_and_closes_once() -> None:
    closed: list[int] = []
    first = KeyError("first")
    failing = ended(None, first, KeyError("second"), close=lambda: closed.append(1))
    assert failing.fault is first
    assert closed == [1]


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), OSError(5, "x"), KeyError()])
def test_it_ends_where_closing_fails(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def close() -> None:
        raise error

    first = ValueError("first")
    assert ended(first, close=close).fault is first
    assert "could not close" in caplog.text
    assert "please report it" in caplog.text


def test_what_is_foreseen_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    assert str(ended(SystemFaultError("eth0 is gone", "x")).fault) == "eth0 is gone\n  cure: x"
    assert caplog.messages == []


def test_what_asyncio_says_without_an_error_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> bool:
        failing = Failing(lambda: None)
        failing.caught(asyncio.get_running_loop(), {"message": "Task was destroyed"})
        return failing.ended.is_set()

    assert not asyncio.run(run())
    assert caplog.messages == ["Task was destroyed"]
