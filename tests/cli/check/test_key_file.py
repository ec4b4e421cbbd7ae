"""`clusterip check`: the key file, and who may use or replace it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.check.asking import KEYS, change, check_here, faults, host_lines, needs_root


@needs_root
def test_no_key_file(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = running.with_name("keys")
    keys.unlink()
    assert check_here(running) == 2
    assert faults(capsys) == [f"{keys}: cannot be read: No such file or directory"]


@needs_root
def test_a_key_file_that_cannot_be_read(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = running.with_name("keys")
    keys.unlink()
    keys.mkdir()
    assert check_here(running) == 2
    assert faults(capsys) == [f"{keys}: cannot be read: Is a directory"]
    keys.rmdir()
    keys.symlink_to(keys)
    assert check_here(running) == 2
    assert faults(capsys) == [f"{keys}: cannot be read: {os.strerror(40)}"]


@needs_root
def test_a_key_file_that_never_comes(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = running.with_name("keys")
    keys.unlink()
    os.mkfifo(keys)
    assert check_here(running) == 2
    assert faults(capsys) == [f"{keys}: cannot be read: Not a regular file"]


@needs_root
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_may_use(
    running: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = running.with_name("keys")
    keys.chmod(mode)
    assert check_here(running) == 0
    assert host_lines(capsys) == [
        f"warning: key file {keys} has mode {mode:04o}: others than its owner may use it"
    ]


@needs_root
def test_a_key_file_of_another_user(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = running.with_name("keys")
    os.chown(keys, 65534, 0)
    assert check_here(running) == 0
    assert host_lines(capsys) == [
        f"warning: key file {keys} belongs to user 65534, who may use and change it"
    ]


@needs_root
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o755, 0, ""),
        (0o1777, 0, ""),
        (0o777, 0, "{} has mode 0777: others may replace key file {}"),
        (0o775, 0, "{} has mode 0775: others may replace key file {}"),
        (0o755, 65534, "{} belongs to user 65534, who may replace key file {}"),
    ],
)
def test_a_folder_in_which_others_may_replace_the_key_file(
    running: Path,
    linked: bool,
    mode: int,
    owner: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = running.with_name("keys")
    folder = keys.parent / "theirs"
    (folder / "deep").mkdir(parents=True)
    moved = keys.rename(folder / "deep" / "keys")
    if linked:
        keys.symlink_to(moved)
    else:
        change(running, str(keys), str(moved))
    folder.chmod(mode)
    os.chown(folder, owner, 0)
    assert check_here(running) == 0
    named = keys if linked else moved
    assert host_lines(capsys) == ([f"warning: {said.format(folder, named)}"] if said else [])


@needs_root
def test_a_bad_key_file(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = running.with_name("keys")
    keys.write_bytes(KEYS.encode() + b"\xff\n")
    change(running, '"eth0"', '"eth9"')
    assert check_here(running) == 2
    out, err = capsys.readouterr()
    assert out.startswith("the daemon of this cluster runs here")
    assert err.splitlines()[0] == f"{keys}:4: this line is not a key"
    # All that is wrong is said at once.
    assert "this host: there is no interface eth9" in err
