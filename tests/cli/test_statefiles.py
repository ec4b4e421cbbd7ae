"""`clusterip statefiles`: its start, its end however it comes, and its refusals."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from clusterip.adapters.statefs import FakeBuckets, mounted_type
from clusterip.cli import statefiles
from clusterip.core.errors import SystemFaultError
from tests.served import PATIENCE, Served, Start, needs_fuse, until

pytestmark = needs_fuse


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(served: Served, number: signal.Signals) -> None:
    assert served.end(number) == 0
    assert mounted_type(served.directory) is None
    assert not served.directory.exists()
    assert served.stderr.read() == ""


def test_a_signal_before_it_serves_is_heeded(start: Start) -> None:
    child = start()
    # From the moment the directory is there, the signals are blocked.
    until(child.directory.exists)
    assert child.end() == 0
    assert not child.directory.exists()


def test_a_directory_that_was_there_stays(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "mine, with spaces"
    directory.mkdir()
    child = start(directory)
    child.await_line("serving")
    assert mounted_type(directory) == "fuse.clusterip"
    assert child.end() == 0
    assert mounted_type(directory) is None
    assert list(directory.iterdir()) == []


def test_it_ends_while_files_are_open_and_in_use(start: Start) -> None:
    for _ in range(5):
        child = start()
        child.await_line("serving")
        handle = os.open(child.file, os.O_RDONLY)
        over = threading.Event()

        def use(file: Path = child.file, over: threading.Event = over) -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    file.read_bytes()

        users = [threading.Thread(target=use) for _ in range(4)]
        for user in users:
            user.start()
        began = time.monotonic()
        assert child.end() == 0
        assert time.monotonic() - began < 3
        over.set()
        for user in users:
            user.join()
        with pytest.raises(OSError, match="not connected"):
            os.pread(handle, 9, 0)
        with contextlib.suppress(OSError):
            os.close(handle)
        assert not child.directory.exists()


def test_vips_of_a_daemon_are_not_counted_and_where_they_are_is_said(start: Start) -> None:
    child = start(kind="Daemons")
    assert child.await_line("serving") == (
        f"clusterip: serving 0 VIPs at {child.directory}; the VIPs run by the daemon of cluster web"
        " have no file: `clusterip show` has their buckets"
    )
    assert list(child.directory.iterdir()) == []
    assert child.end() == 0


def test_it_ends_although_a_request_hangs(start: Start) -> None:
    child = start(kind="Stuck", patience=0.2)
    child.await_line("serving")
    reader = subprocess.Popen(["cat", child.file], stderr=subprocess.DEVNULL)
    child.await_line("stuck")
    assert child.end() == 0
    assert reader.wait(PATIENCE) == 1
    assert mounted_type(child.directory) is None


def test_unmounting_ends_it(served: Served) -> None:
    subprocess.run(["umount", served.directory], check=True)
    assert served.process.wait(PATIENCE) == 0


def test_after_a_kill_it_starts_again(start: Start) -> None:
    first = start()
    first.await_line("serving")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    with pytest.raises(OSError) as dead:
        first.directory.stat()
    assert dead.value.errno == errno.ENOTCONN
    second = start()
    assert "a killed server had left" in second.await_line("unmounted")
    second.await_line("serving")
    assert second.file.read_bytes() == b"1,3\n"
    assert second.end() == 0
    assert mounted_type(second.directory) is None


def refusal(child: Served, status: int) -> str:
    assert child.process.wait(PATIENCE) == status
    return child.stderr.read().strip()


def test_a_second_one_is_refused(served: Served, start: Start) -> None:
    assert refusal(start(), 1) == (
        f"the state files are served at {served.directory} already\n"
        "  cure: end that clusterip statefiles, or name another directory with --mount"
    )
    assert served.file.read_bytes() == b"1,3\n"


def test_two_at_once_leave_one(start: Start) -> None:
    children = [start(), start()]
    until(lambda: any(child.process.poll() is not None for child in children))
    loser, winner = sorted(children, key=lambda child: child.process.poll() is None)
    assert loser.process.returncode == 1
    winner.await_line("serving")
    assert winner.file.read_bytes() == b"1,3\n"
    assert winner.end() == 0


def test_what_is_no_directory_is_refused(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"{file} is not a directory" in refusal(start(file), 1)
    assert file.exists()


def test_a_full_directory_is_refused(start: Start, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "full is not empty" in refusal(start(tmp_path / "full"), 1)
    assert (tmp_path / "full" / "file").exists()


def test_a_directory_that_cannot_be_made(start: Start, tmp_path: Path) -> None:
    assert "cannot be made: No such file" in refusal(start(tmp_path / "no" / "mount"), 4)


def test_another_mount_is_refused(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "mount"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", directory], check=True)
    assert "a file system of type tmpfs is mounted at" in refusal(start(directory), 1)
    subprocess.run(["umount", directory], check=True)


def test_without_libfuse(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_LIBRARY_PATH", "/nonexistent/libfuse3.so.3")
    said = refusal(start(), 4)
    assert "the state files need libfuse 3" in said
    assert "cure: apt install libfuse3-3" in said
    assert not (tmp_path / "mount").exists()


def test_without_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statefiles, "_DEVICE", tmp_path / "fuse")
    with pytest.raises(SystemFaultError, match="this kernel offers no FUSE"):
        statefiles.serve(FakeBuckets({}), tmp_path / "mount")


def test_rules_that_cannot_be_read(tmp_path: Path) -> None:
    class Unreadable(FakeBuckets):
        def chain(self) -> NoReturn:
            raise SystemFaultError("another version pinned them", "flush")

    directory = tmp_path / "mount"
    with pytest.raises(SystemFaultError, match="another version"):
        statefiles.serve(Unreadable({}), directory)
    assert mounted_type(directory) is None
    assert not directory.exists()


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    parser = argparse.ArgumentParser()
    statefiles.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["statefiles"])
    assert arguments.mount == Path("/run/clusterip")
    with pytest.raises(SystemFaultError, match="needs root"):
        arguments.run(arguments)
