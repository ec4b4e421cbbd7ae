"""Files on a real file system that is full, read-only, or has no inodes left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterip.adapters.reserved import Reserved
from tests.adapters.smallfs import fill, mounted
from tests.cli.conftest import environment
from tests.namespaces import run

pytestmark = pytest.mark.root("it mounts")

SIZE = 10_000


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB and 16 inodes, in a mount namespace of the test's own."""
    with mounted(tmp_path, "size=64k,nr_inodes=16"):
        yield tmp_path


def read_only(folder: Path) -> None:
    run("mount", "-o", "remount,ro", str(folder))


def test_a_full_disk_keeps_nothing_from_being_written(tiny: Path) -> None:
    one = Reserved(tiny / "note", SIZE)
    one.reserve()
    one.write(b"first")
    one.reserve()
    fill(tiny)
    for number in range(50):
        content = b"%d" % number * (number * 90)
        one.write(content)
        assert one.read() == content
    assert sorted(part.name for part in tiny.glob("note*")) == ["note", "note.new"]


def test_nor_a_file_that_is_there_for_a_moment(tiny: Path) -> None:
    one = Reserved(tiny / "handover", SIZE)
    one.reserve()
    fill(tiny)
    for number in range(5):
        assert one.read() is None
        one.write(b"%d" % number * 5000)
        assert one.take() == b"%d" % number * 5000
        assert not one.exists()
        # It is still reserved.
        one.reserve()


@pytest.mark.parametrize(("spoil", "code"), [(fill, errno.ENOSPC), (read_only, errno.EROFS)])
def test_what_cannot_be_reserved(tiny: Path, spoil: Callable[[Path], None], code: int) -> None:
    one = Reserved(tiny / "note", SIZE)
    spoil(tiny)
    with pytest.raises(OSError, match=os.strerror(code)):
        one.reserve()
    assert one.read() is None


def test_what_is_read_only_leaves_the_old(tiny: Path) -> None:
    one = Reserved(tiny / "note", SIZE)
    one.write(b"old")
    one.reserve()
    read_only(tiny)
    with pytest.raises(OSError, match="Read-only"):
        one.reserve()
    with pytest.raises(OSError, match="Read-only"):
        one.write(b"new")
    assert one.read() == b"old"


def test_more_than_is_reserved(tiny: Path) -> None:
    one = Reserved(tiny / "note", 100)
    one.write(b"old")
    one.reserve()
    one.write(b"x" * 5000)
    assert one.read() == b"x" * 5000
    one.write(b"short")
    one.reserve()
    fill(tiny)
    with pytest.raises(OSError, match="No space left"):
        one.write(b"y" * 40_000)
    assert one.read() == b"short"


WRITES = """
import sys
from pathlib import Path
from clusterip.adapters.reserved import Reserved
one = Reserved(Path(sys.argv[1]) / "note", 10000)
one.write(b"old" * 3000)
one.reserve()
one.write(b"new" * 3000)
"""


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("call", ["write", "pwrite64", "renameat2", "rename", "fallocate"])
def test_killed_at_any_moment(tmp_path: Path, call: str, number: int) -> None:
    """It leaves nothing, the old or the new."""
    words = ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}")
    kill = ("-e", f"inject={call}:signal=KILL:when={number}")
    program = (sys.executable, "-c", WRITES, str(tmp_path))
    subprocess.run((*words, *kill, *program), env=environment(), check=False)
    left = Reserved(tmp_path / "note", 10000).read()
    assert left in (None, b"old" * 3000, b"new" * 3000)
