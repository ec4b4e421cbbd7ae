"""The lab itself: however it ends, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.cleanup import PINS, RUNS
from lab.namespace import NETNS
from lab.offloads import offload, set_offload
from lab.topology import lab, pair
from lab.wait import eventually
from tests.lan.cluster import Sharing, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Lab

ROOT = Path(__file__).parents[2]
_WAITING = """\
import signal
from lab.servers import nginx
from lab.topology import VIP, lab
from tests.lan.cluster import Sharing, share

with lab(hosts=1) as made:
    share(made, Sharing())
    for host in made.hosts:
        nginx(host)
        files = host.start("clusterip", "statefiles", "--mount", f"state-{host.name}")
        files.wait_output("serving ")
        host.start("sleep", "1000")
    print(made.directory.name, *(host.cookie for host in made.hosts), flush=True)
    signal.pause()
"""


@pytest.fixture
def waiting(_able: None) -> Iterator[subprocess.Popen[str]]:
    """A program that has built a lab and waits."""
    with subprocess.Popen(
        # Whatever those who started the tests ignore.
        ["env", "--default-signal", sys.executable, "-c", _WAITING],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def left_of(run: str, cookies: list[str]) -> list[str]:
    """Return all that is left of a run, by name."""
    found = [str(path) for path in (*NETNS.glob(f"{run}-*"), *RUNS.glob(run))]
    found += [str(PINS / cookie) for cookie in cookies if (PINS / cookie).exists()]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if run in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if run.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # it ended meanwhile
    return found


def built(process: subprocess.Popen[str]) -> tuple[str, list[str]]:
    assert process.stdout is not None
    run, *cookies = process.stdout.readline().split()
    assert len(left_of(run, cookies)) > 5
    return run, cookies


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal(waiting: subprocess.Popen[str], signum: signal.Signals) -> None:
    run, cookies = built(waiting)
    os.kill(waiting.pid, signum)
    waiting.wait(20)
    assert left_of(run, cookies) == []


def test_killed_and_cleared_away_by_the_next_one(waiting: subprocess.Popen[str]) -> None:
    run, cookies = built(waiting)
    waiting.kill()
    waiting.wait(20)
    with lab(hosts=1):
        assert left_of(run, cookies) == []


def test_the_living_are_not_cleared_away(waiting: subprocess.Popen[str]) -> None:
    run, cookies = built(waiting)
    there = left_of(run, cookies)
    with lab(hosts=1):
        assert left_of(run, cookies) == there


@pytest.mark.usefixtures("_able")
def test_an_exception() -> None:
    run, cookies = "", []

    def fail() -> None:
        nonlocal run, cookies
        with lab(hosts=1) as made:
            run, cookies = made.directory.name, [str(host.cookie) for host in made.hosts]
            share(made, Sharing())
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert run
    assert left_of(run, cookies) == []


@pytest.mark.usefixtures("_able")
def test_nothing_in_the_root_namespace() -> None:
    def interfaces() -> set[str]:
        return {path.name for path in Path("/sys/class/net").iterdir()}

    before = interfaces()
    with lab(hosts=2):
        assert interfaces() == before


@pytest.mark.usefixtures("_able")
def test_a_pair() -> None:
    with pair() as two:
        host, client = two.host, two.client
        client.run("ping", "-c", "1", host.address)
        assert client.neighbour(host.address) == host.mac
        assert (
            '"ifname"' not in two.switch.run("ip", "-json", "link", "show", "type", "veth").stdout
        )
        for on in (True, False):
            set_offload(host, "gro", on=on)
            assert offload(host, "gro") is on


def test_waiting_has_a_deadline() -> None:
    with pytest.raises(TimeoutError, match="the impossible: not within"):
        eventually(lambda: 0, within=0.05, what="the impossible")


def test_so_has_a_command(lan: Lab) -> None:
    with pytest.raises(TimeoutError, match=r"h1# sleep 9: not ended within 0\.1 s"):
        lan.hosts[0].run("sleep", "9", within=0.1)


def test_the_command_runs_where_nothing_in_run_may(lan: Lab) -> None:
    """So Debian's initramfs mounts /run, that is: on every machine that is no container."""
    here = lan.directory
    mounted = f"mount --bind {here} {here} && mount -o remount,bind,noexec {here}"
    line = f"{mounted} && exec clusterip --version"
    assert lan.hosts[0].run("unshare", "--mount", "sh", "-c", line).stdout.startswith("clusterip ")
