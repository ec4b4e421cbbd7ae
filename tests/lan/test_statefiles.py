"""The state files, used with what scripts use: the shell's echo, and cat.

The table is that of the recorded module: what is written, and the errno it gets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from lab.topology import VIP
from tests.lan.cluster import Sharing, append, ping_all, share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.processes import Process
    from lab.topology import Host, Lab

OTHER = Sharing("sourceip", "10.9.0.101", 7, 0, "01:00:5e:00:00:21")


@contextlib.contextmanager
def state_files(host: Host) -> Iterator[tuple[Path, Process]]:
    directory = host.directory / f"state-{host.name}"
    heeding = ("env", "--default-signal")  # whatever those who started the tests ignore
    server = host.start(*heeding, "clusterip", "statefiles", "--mount", str(directory))
    try:
        server.wait_output("serving ")
        yield directory, server
    finally:
        server.stop()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write(path: Path, written: bytes) -> int:
    """Write in one call, as the shell's echo does; returns the errno, 0 for none."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(handle, written)
    except OSError as error:
        return error.errno or -1
    finally:
        os.close(handle)
    return 0


@pytest.fixture
def file(lan: Lab) -> Iterator[Path]:
    """The state file of a VIP with 4 buckets, of which this host holds bucket 1."""
    host = lan.hosts[0]
    append(host, *Sharing("sourceip", total=4).new(1))
    with state_files(host) as (directory, _):
        yield directory / VIP


# What is written to a file that reads 1, of 4 buckets: the errno, and what it reads then.
TABLE: dict[bytes, tuple[int, str]] = {
    b"+2\n": (0, "1,2\n"),
    b"+03\n": (0, "1,3\n"),
    b"+00000002\n": (0, "1,2\n"),
    b"-1\n": (0, ""),
    b"+0\n": (errno.ENOMEM, "1\n"),
    b"+5\n": (errno.ENOMEM, "1\n"),
    b"+1\n": (errno.ENOMEM, "1\n"),
    b"-9\n": (errno.ENOENT, "1\n"),
    b"-3\n": (errno.ENOENT, "1\n"),
    b"x\n": (errno.EIO, "1\n"),
    b"2\n": (errno.EIO, "1\n"),
    b"\n": (errno.EIO, "1\n"),
    b"+000000002\n": (errno.EIO, "1\n"),
    b"+\n": (errno.EINVAL, "1\n"),
    b"+3 \n": (errno.EINVAL, "1\n"),
    b"+3x\n": (errno.EINVAL, "1\n"),
    b"+0x3\n": (errno.EINVAL, "1\n"),
}


def read_and_reset(file: Path) -> str:
    """Return what the file reads, and make it read 1."""
    found = file.read_text()
    for held in found.strip().split(",") if found.strip() else []:
        assert write(file, f"-{held}\n".encode()) == 0
    assert write(file, b"+1\n") == 0
    return found


def test_what_is_written(file: Path) -> None:
    seen = {written: (write(file, written), read_and_reset(file)) for written in TABLE}
    assert seen == TABLE


def test_echo_and_cat(lan: Lab, file: Path) -> None:
    host = lan.hosts[0]
    assert host.run("cat", str(file)).stdout == "1\n"
    for line in (f"echo +4 >> {file}", f"echo +2 > {file}", f"echo -1 >> {file}"):
        host.run("bash", "-c", line)
    assert host.run("cat", str(file)).stdout == "2,4\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_shell_says_why(lan: Lab, file: Path) -> None:
    said = {
        "+9": "Cannot allocate memory",
        "-3": "No such file or directory",
        "x": "Input/output error",
        "+3x": "Invalid argument",
    }
    for written, message in said.items():
        done = lan.hosts[0].run("bash", "-c", f"echo {written} >> {file}", check=False)
        assert done.returncode != 0
        assert message in done.stderr


def test_a_file_for_each_vip_as_they_come_and_go(lan: Lab) -> None:
    host = lan.hosts[0]
    with state_files(host) as (directory, _):
        assert names(directory) == []
        append(host, *Sharing("sourceip").new(2))
        append(host, *OTHER.new(7))
        assert names(directory) == [VIP, OTHER.vip]
        assert [(directory / vip).read_text() for vip in (VIP, OTHER.vip)] == ["2\n", "7\n"]
        host.clusterip("iptables", "-D", *OTHER.new(7))
        assert names(directory) == [VIP]


def test_files_commands_and_packets_agree(lan: Lab) -> None:
    sharing = Sharing("sourceip")
    share(lan, sharing)
    _, taker, giver = lan.hosts
    with state_files(taker) as (takers, _), state_files(giver) as (givers, _):
        assert write(givers / VIP, b"-3\n") == 0
        answers = ping_all(lan)
        assert answers == sharing.predicted(answers, {1: "h1", 2: "h2"})
        assert write(takers / VIP, b"+3\n") == 0
        answers = ping_all(lan)
        assert answers == sharing.predicted(answers, {1: "h1", 2: "h2", 3: "h2"})
        giver.clusterip("bucket", VIP, "+1")
        assert (givers / VIP).read_text() == "1\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(lan: Lab, signum: signal.Signals) -> None:
    host = lan.hosts[0]
    append(host, *Sharing("sourceip").new(1))
    with state_files(host) as (directory, server):
        assert server.stop(signum) == 0
        assert not directory.is_mount()
    with state_files(host) as (directory, _):
        assert (directory / VIP).read_text() == "1\n"


def test_killed_and_started_again(lan: Lab) -> None:
    host = lan.hosts[0]
    append(host, *Sharing("sourceip").new(1))
    with state_files(host) as (_, server):
        server.stop(signal.SIGKILL)
    with state_files(host) as (directory, _):
        assert (directory / VIP).read_text() == "1\n"
