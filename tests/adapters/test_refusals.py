"""What is to be done where the system refuses something: the cure fits the errno, and the place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from clusterip.adapters import refusals


def refused(number: int, path: object = None) -> OSError:
    error = OSError(number, os.strerror(number))
    error.filename = path
    return error


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EROFS, "mount -o remount,rw /proc"),
        (errno.ENOSPC, "make room there: see `df /proc` and `df -i /proc`"),
        (errno.EDQUOT, "raise the quota"),
        (errno.EACCES, "see who may use /proc/there/is/none, and that no security module"),
        (errno.EPERM, "see who may use /proc/there/is/none"),
        (errno.ENOENT, "see that /proc/there/is/none is there"),
        (errno.ENOTDIR, "remove what is in the place of a folder, above /proc/there/is/none"),
        (errno.EMFILE, "LimitNOFILE="),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "see that there is memory"),
        (errno.EAGAIN, "TasksMax="),
        (errno.EIO, "`clusterip check` looks at this host"),
    ],
)
def test_at_a_place(number: int, cure: str) -> None:
    path = "/proc/there/is/none"
    for said in (
        refusals.cure(refused(number, path)),
        refusals.cure(refused(number, os.fsencode(path))),
        refusals.cure(refused(number), Path(path)),
    ):
        assert cure in said
        assert "{" not in said


@pytest.mark.parametrize("number", sorted(errno.errorcode))
@pytest.mark.parametrize("path", [None, 7, "", "relative"])
def test_nowhere_known(number: int, path: object) -> None:
    said = refusals.cure(refused(number, path))
    assert said
    assert "{" not in said
    assert ("memory" in said) == (number == errno.ENOMEM)


def test_a_mount_that_is_reached_through_a_descriptor() -> None:
    fd = os.open("/sys", os.O_PATH | os.O_DIRECTORY)
    try:
        said = refusals.cure(refused(errno.EROFS, f"/proc/self/fd/{fd}/there/is/none"))
        assert said == "mount -o remount,rw /sys"
    finally:
        os.close(fd)


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    before, gone = Path.cwd(), tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        assert refusals.cure(refused(errno.ENOENT)).startswith("go to a directory that is there")
        assert refusals.cure(refused(errno.ENOSPC, "key"))
    finally:
        os.chdir(before)
