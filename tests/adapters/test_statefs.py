"""The state files, mounted: a child process serves a fake host, the test is their user."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from clusterip.adapters.statefs import FakeBuckets, StateFiles, mounted_type
from clusterip.core.address import Address
from clusterip.core.packets.state import Chain
from tests.served import VIP, Served, Start, needs_fuse

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_fuse


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write(path: Path, written: bytes, flags: int = os.O_WRONLY) -> int:
    """Write in one call; return 0 or the errno."""
    handle = os.open(path, flags)
    try:
        assert os.write(handle, written) == len(written)
    except OSError as error:
        return error.errno or -1
    finally:
        os.close(handle)
    return 0


def test_looks_like_proc(served: Served) -> None:
    assert names(served.directory) == [VIP, "10.9.0.101"]
    found = served.file.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_uid, found.st_gid, found.st_size) == (0, 0, 0)
    assert stat.S_IMODE(served.directory.stat().st_mode) == 0o555
    assert mounted_type(served.directory) == "fuse.clusterip"


def test_reads(served: Served) -> None:
    assert served.file.read_bytes() == b"1,3\n"
    assert subprocess.check_output(["cat", served.file]) == b"1,3\n"
    assert write(served.file, b"-1") == 0
    assert write(served.file, b"-3") == 0
    assert served.file.read_bytes() == b""


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_WRONLY | os.O_TRUNC])
@pytest.mark.parametrize(
    ("written", "result", "after"),
    [
        (b"+2\n", 0, b"1,2,3\n"),
        (b"+02", 0, b"1,2,3\n"),
        (b"++2", 0, b"1,2,3\n"),
        (b"-3\n", 0, b"1\n"),
        (b"+0", errno.ENOMEM, b"1,3\n"),
        (b"+5", errno.ENOMEM, b"1,3\n"),
        (b"+3", errno.ENOMEM, b"1,3\n"),
        (b"-9", errno.ENOENT, b"1,3\n"),
        (b"-2", errno.ENOENT, b"1,3\n"),
        (b"x", errno.EIO, b"1,3\n"),
        (b"2", errno.EIO, b"1,3\n"),
        (b"\n", errno.EIO, b"1,3\n"),
        (b"+0000000002", errno.EIO, b"1,3\n"),
        pytest.param(b"+2\n" * 100_000, errno.EIO, b"1,3\n", id="longer than any write"),
        (b"+", errno.EINVAL, b"1,3\n"),
        (b"+3 ", errno.EINVAL, b"1,3\n"),
        (b"+3x", errno.EINVAL, b"1,3\n"),
        (b"+0x3", errno.EINVAL, b"1,3\n"),
    ],
)
def test_writes(served: Served, flags: int, written: bytes, result: int, after: bytes) -> None:
    # Twice: a refusal leaves nothing behind, and a change that was made is then refused.
    assert write(served.file, written, flags) == result
    assert served.file.read_bytes() == after
    assert write(served.file, written, flags) != 0
    assert served.file.read_bytes() == after


@pytest.mark.parametrize("redirection", [">", ">>"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("echo +2", ""),
        ("printf -- -3", ""),
        ("echo +3", "Cannot allocate memory"),
        ("echo -2", "No such file or directory"),
        ("echo 2", "Input/output error"),
        ("echo", "Input/output error"),
        ("echo +3x", "Invalid argument"),
    ],
)
def test_the_shell(served: Served, redirection: str, words: str, message: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{words} {redirection} {served.file}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == (1 if message else 0)
    assert message in done.stderr


def test_one_handle_writes_and_reads_many_times(served: Served) -> None:
    handle = os.open(served.file, os.O_RDWR)
    for bucket in (b"2", b"4"):
        os.write(handle, b"+" + bucket)
    assert os.pread(handle, 100, 0) == b"1,2,3,4\n"
    os.write(handle, b"-1")
    assert os.pread(handle, 100, 0) == b"2,3,4\n"
    os.close(handle)


def test_a_reader_never_sees_half_a_change(served: Served) -> None:
    handle = os.open(served.file, os.O_RDONLY)
    assert os.read(handle, 2) == b"1,"
    assert write(served.file, b"+2") == 0
    assert os.read(handle, 100) == b"3\n"
    os.lseek(handle, 0, os.SEEK_SET)
    assert os.read(handle, 100) == b"1,2,3\n"
    os.close(handle)


@pytest.fixture
def public(start: Start) -> Iterator[Served]:
    """Files served where every user can get at them; what pytest makes is for root only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        child = start(Path(folder) / "mount")
        child.await_line("serving")
        yield child
        assert child.end() == 0


def used(directory: Path, name: str, *before: str) -> dict[str, list[object]]:
    """Return what comes of all that `fileuser` tries."""
    words = [*before, sys.executable, str(Path(__file__).with_name("fileuser.py"))]
    told: dict[str, list[object]] = json.loads(subprocess.check_output([*words, directory, name]))
    return told


def test_all_that_can_be_done_to_a_file_is_as_in_proc(public: Served) -> None:
    # A namespace has its own /proc/net; this file is always there, and as ours were made.
    theirs = used(Path("/proc/net/stat"), "rt_cache", "unshare", "--net")
    ours = used(public.directory, VIP)
    for what, (result, *_) in ours.items():
        # What would make a name is refused to all; FUSE asks who it is first, proc what it is.
        _, who, deed = what.split(": ")
        if deed in {"new file", "mkdir", "mknod", "symlink", "link", "rename"} and who != "root":
            assert {result, theirs[what][0]} <= {errno.EACCES, errno.EPERM, errno.ENOENT}
            ours[what][0] = theirs[what][0]
    assert {what: (ours[what], theirs[what]) for what in theirs if ours[what] != theirs[what]} == {}
    assert len({json.dumps(one) for one in theirs.values()}) > 50
    assert names(public.directory) == [VIP, "10.9.0.101"]


def test_whoever_was_given_a_file_takes_and_gives_up_buckets(public: Served) -> None:
    def written(word: str, uid: int) -> int:
        words = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "sh", "-c")
        line = f"echo {word} >> {public.file}"
        return subprocess.run((*words, line), capture_output=True, check=False).returncode

    assert written("+2", 64_001) != 0
    os.chown(public.file, 64_001, -1)
    assert [written("+2", 64_001), written("-1", 64_001)] == [0, 0]
    assert written("+2", 64_001) != 0
    assert written("+4", 64_002) != 0
    assert public.file.read_bytes() == b"2,3\n"
    other = public.directory / "10.9.0.101"
    assert (other.stat().st_uid, other.read_bytes()) == (0, b"1,3\n")


def test_a_vip_that_comes_again_has_a_new_file(served: Served) -> None:
    os.chown(served.file, 64_001, 64_002)
    served.file.chmod(0o666)
    served.directory.chmod(0o500)
    served.vips.write_text("10.9.0.101\n")
    assert not served.file.exists()
    served.vips.write_text(f"{VIP}\n")
    found = served.file.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o600, 0, 0)
    # The directory is still the same one.
    assert stat.S_IMODE(served.directory.stat().st_mode) == 0o500


def test_vips_come_and_go_with_the_rules(served: Served) -> None:
    added = served.directory / "10.9.0.102"
    assert not added.exists()
    handle = os.open(served.file, os.O_RDWR)
    served.vips.write_text("10.9.0.102\n")
    assert names(served.directory) == ["10.9.0.102"]
    assert added.read_bytes() == b"1,3\n"
    assert not served.file.exists()
    for attempt in (lambda: os.write(handle, b"+2"), lambda: os.pread(handle, 9, 0)):
        with pytest.raises(OSError, match="Input/output error"):
            attempt()
    os.close(handle)
    served.vips.write_text(f"{VIP}\n")
    assert names(served.directory) == [VIP]
    assert served.file.read_bytes() == b"1,3\n"


@pytest.mark.parametrize(
    "name", ["x", "10.9.0", "010.9.0.100", "10.9.0.100.", "::1", "\udcff", "1\udce9"]
)
def test_other_names_are_not_there(served: Served, name: str) -> None:
    assert not (served.directory / name).exists()


def test_a_fault_of_the_system_is_told_on_stderr(start: Start) -> None:
    child = start(kind="Broken")
    child.await_line("serving")
    with pytest.raises(OSError, match="Input/output error"):
        child.file.read_bytes()
    assert child.await_line("pins") == "clusterip: the pins are gone"
    assert child.end() == 0


class _WithDaemon(FakeBuckets):
    """A host on which a daemon runs the interface of VIP."""

    def chain(self) -> Chain:
        (state,) = super().chain().interfaces
        groups = tuple(one for one in state.groups if str(one.vip) != VIP)
        by_daemon = tuple(one for one in state.groups if str(one.vip) == VIP)
        return Chain(
            (
                msgspec.structs.replace(state, groups=groups),
                msgspec.structs.replace(
                    state, index=2, name="eth1", groups=by_daemon, cluster="web"
                ),
            )
        )


def test_what_a_daemon_runs_has_no_file() -> None:
    said: list[str] = []
    vips: dict[Address, set[int]] = {IPv4Address(VIP): {1}, IPv4Address("10.9.0.101"): {2}}
    files = StateFiles(_WithDaemon(vips), lambda: None, said.append)
    assert files.readdir("/", 0) == [".", "..", "10.9.0.101"]
    assert files.getattr("/10.9.0.101")["st_mode"] == stat.S_IFREG | 0o600
    for attempt in (files.getattr, lambda path: files.open(path, os.O_RDWR)):
        with pytest.raises(OSError, match="not shared here") as none:
            attempt(f"/{VIP}")
        assert none.value.errno == errno.ENOENT
    assert said == []
