"""`clusterip keygen`: a new key file, and the steps of changing a key."""

from __future__ import annotations

import argparse
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import configfiles
from clusterip.cli import keygen
from clusterip.core.config.faults import ConfigError
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from tests.cli.elsewhere import elsewhere


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Return where a key file may be made; nothing else may be left beside it."""
    path = tmp_path / "clusterip.key"
    yield path
    assert {one.name for one in tmp_path.iterdir()} <= {path.name, "link"}


def ask(*words: object) -> int:
    parser = argparse.ArgumentParser()
    keygen.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["keygen", *map(str, words)])
    status: int = arguments.run(arguments)
    return status


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert ask(*words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    done, following = out.splitlines()
    identity = re.search(r"key (\d+)", done)
    assert identity
    assert str(words[0]) in done
    assert following.startswith("next: ")
    return identity[1]


def names(file: Path) -> list[str]:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return [str(key.id) for key in configfiles.load_keys(str(file)).every]


def test_a_new_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = printed(capsys, file)
    assert names(file) == [name]
    assert len(configfiles.load_keys(str(file)).sending.secret) == 32


def test_what_is_said_of_an_empty_file_leads_to_a_key(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.touch()
    with pytest.raises(ConfigError, match="there is no key") as none:
        ask(file, "--add")
    cure = f"remove this file, and make a new one with `clusterip keygen {file}`"
    assert cure in str(none.value)
    file.unlink()
    name = printed(capsys, file)
    assert names(file) == [name]


def test_an_old_file_is_kept(file: Path) -> None:
    file.write_text("precious")
    with pytest.raises(RefusedError, match="is there already"):
        ask(file)
    assert file.read_text() == "precious"


def test_a_key_is_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = printed(capsys, file)
    file.chmod(0o644)
    new = printed(capsys, file, "--add")
    assert new != old
    assert names(file) == [old, new]
    assert printed(capsys, file, "--use", new) == new
    assert names(file) == [new, old]
    with pytest.raises(RefusedError, match="is the one for sending"):
        ask(file, "--drop", new)
    assert printed(capsys, file, "--drop", old) == old
    assert names(file) == [new]


def test_the_next_step_can_be_given_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a key"

    def following(*words: object) -> str:
        assert ask(path.name, *words) == 0
        done, said = capsys.readouterr().out.splitlines()
        assert said.startswith("next: ")
        identities.extend(re.findall(r"key (\d+)", done))
        return said

    identities: list[str] = []
    assert f"scp -p '{path}' root@HOST:'{path}'" in following()
    said = following("--add")
    old, new = identities
    assert f"scp -p '{path}' root@HOST:'{path}'; " in said
    assert "`clusterip reload` on every host, this one too" in said
    assert said.endswith(f": clusterip keygen '{path}' --use {new}")
    assert following("--use", new).endswith(f": clusterip keygen '{path}' --drop {old}")
    assert following("--drop", old).endswith("and the same on every other host")
    assert following("--use", new).endswith("nothing, it is the only one")


def test_what_a_change_does_not_concern_is_kept_byte_for_byte(file: Path) -> None:
    first, second = (f"{number}:{64 * str(number)}".encode() for number in (1, 2))
    comment = "# Schlüssel für 東京 ".encode() + b"\xff\x00\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + comment + first + b" # caf\xe9\r\n" + second + b"\n")
    assert ask(file, "--use", "2") == 0
    assert file.read_bytes() == comment + second + b"\n" + first + b" # caf\xe9\r\n"
    assert ask(file, "--drop", "1") == 0
    assert file.read_bytes() == comment + second + b"\n"


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", "é".encode(), b"\xef\xbb\xbf"])
def test_bytes_that_no_key_has(file: Path, byte: bytes) -> None:
    file.write_bytes(b"# \xff\n1:" + 64 * b"1" + byte + b"\n")
    with pytest.raises(ConfigError, match=r"clusterip\.key:2: this line is not a key"):
        configfiles.load_keys(str(file))


def test_a_link_stays_a_link(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, file)
    link = file.with_name("link")
    link.symlink_to(file.name)
    printed(capsys, link, "--add")
    assert link.is_symlink()
    assert len(names(file)) == 2


@pytest.mark.parametrize("step", [["--add"], ["--use", "1"], ["--drop", "1"]])
def test_what_is_no_key_file_is_left_alone(file: Path, step: list[str]) -> None:
    file.write_text("[cluster]\n")
    with pytest.raises(ConfigError, match=r"clusterip\.key:1: this line is not a key"):
        ask(file, *step)
    assert file.read_text() == "[cluster]\n"


def test_an_unknown_key(file: Path) -> None:
    assert ask(file) == 0
    before = file.read_bytes()
    other = str((int(names(file)[0]) + 1) % 256)
    with pytest.raises(RefusedError, match=f"there is no key {other}"):
        ask(file, "--use", other)
    with pytest.raises(RefusedError, match=f"there is no key {other}"):
        ask(file, "--drop", other)
    for bad in ("256", "-1", "", "x"):
        with pytest.raises(UsageError, match=r"is not in 0\.\.255"):
            ask(file, f"--use={bad}")
    assert file.read_bytes() == before


def test_nowhere_to_write(tmp_path: Path) -> None:
    path = tmp_path / "none" / "keys"
    with pytest.raises(SystemFaultError, match=r"cannot write .*: No such file"):
        ask(path)
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        ask(path, "--add")


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_holds_no_key(device: str) -> None:
    with pytest.raises(RefusedError, match=f"{device} is no file") as caught:
        ask(device)
    assert "--add" not in caught.value.cure


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_cannot_be_printed_is_done(
    more: list[str], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemFaultError, match="cannot be printed: No space") as caught:
            ask(file, *more)
    assert f"made {file} with key {names(file)[0]}" in caught.value.message
    assert "copy it to every other host" in caught.value.cure


def test_one_step_at_a_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ask(file, "--add", "--use", "1")
    assert "not allowed with" in capsys.readouterr().err


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in ([], ["--add"]):
        assert ask(file, "--json", *step) == 0
        out, err = capsys.readouterr()
        told = json.loads(out)
        assert err == ""
        assert (told["file"], str(told["id"])) == (str(file), names(file)[-1])
        assert told["done"]
        assert str(file) in told["next"]


def test_the_same_words_on_a_terminal(file: Path) -> None:
    with elsewhere({"LC_ALL": "C.UTF-8"}, os.fsencode(file.parent)) as run:
        said = run(b"keygen", os.fsencode(file), columns=80)
    (name,) = names(file)
    done, _, following = said.out.decode().partition("next: ")
    following = "next: " + following.strip()
    assert (said.status, said.err) == (0, b"")
    # It may be broken between its words.
    assert " ".join(done.split()) == f"made {file} with key {name}, for its owner only"
    assert following == f"next: copy it to every other host: scp -p {file} root@HOST:{file}"
