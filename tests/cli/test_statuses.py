"""Exit statuses: each command's help names its own, and files fare alike with all commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterip.cli import main as module
from clusterip.cli import statuses
from clusterip.core.errors import FAULT, NOT_AGAIN
from tests.cli.conftest import CONFIG, Process

needs_root = pytest.mark.root("network namespaces")
MANUAL = Path(__file__).parents[2] / "man" / "clusterip.8"
COMMANDS = tuple(
    next(one for one in module.parser()._actions if one.metavar == "COMMAND").choices or ()
)
DAEMONS = {"run", "witness"}
EVERY = {statuses.DONE, statuses.REFUSED, statuses.WRONG, statuses.UNABLE}


def named(text: str) -> set[int]:
    """Return the statuses that a help names."""
    listed = " ".join(text.partition("\nexit status:")[2].split())
    return {int(one) for one in re.findall(r"(?:^|; )(\d+) \S", listed)}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_statuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        module.main([command, "--help"])
    expected = EVERY
    if command in DAEMONS:
        expected = EVERY - {statuses.REFUSED} | {NOT_AGAIN, FAULT}
    assert named(capsys.readouterr().out) == expected


def test_the_manual_has_the_same_table() -> None:
    table = MANUAL.read_text().partition(".SH EXIT STATUS\n")[2].partition(".SH ")[0]
    told = {int(one) for one in re.findall(r"^\.B (\d+)$", table, flags=re.MULTILINE)}
    assert told == {*EVERY, NOT_AGAIN, FAULT, 130}


BROKEN = b"\0 this is [no file of ours\n"


def missing(path: Path) -> None:
    assert not path.exists()


def directory(path: Path) -> None:
    path.mkdir()


def broken(path: Path) -> None:
    path.write_bytes(BROKEN)


def nothing_to_read(path: Path) -> None:
    """To root all files can be read but this one, which leads to itself."""
    path.symlink_to(path.name)


KINDS = (missing, directory, broken, nothing_to_read)
READERS = {
    "run": ("run", "--config"),
    "witness": ("witness", "--config"),
    "check": ("check",),
    "check --file-only": ("check", "--file-only"),
    "keygen --add": ("keygen", "--add"),
    "keygen --use": ("keygen", "--use", "1"),
    "keygen --drop": ("keygen", "--drop", "1"),
    "import": ("import",),
    "import --apply": ("import", "--apply"),
    "which": ("which", "--hashmode", "sourceip", "--total-nodes", "3", "--csv"),
}


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_wrong(
    reader: str, kind: Callable[[Path], None], process: Process, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    kind(path)
    done = process(*READERS[reader], str(path))
    assert done.returncode == statuses.WRONG, done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def keys(folder: Path, tmp_path: Path) -> Path:
    """Return where the key file of a configuration, which is beside it, should be."""
    assert folder.name
    path = tmp_path / "keys"
    text = CONFIG.replace("buckets = 4", f'buckets = 4\nkey_file = "{path}"')
    (tmp_path / "clusterip.toml").write_text(text)
    return path


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", ["run", "check"])
def test_a_key_file_that_is_wrong(
    reader: str, kind: Callable[[Path], None], keys: Path, process: Process
) -> None:
    kind(keys)
    done = process(*READERS[reader], str(keys.with_name("clusterip.toml")), "--node", "web1")
    assert done.returncode == statuses.WRONG, done.stderr
    assert f"{keys}:" in done.stderr


@needs_root
def test_who_may_not_read_it(process: Process, tmp_path: Path) -> None:
    """Without root it cannot be read either, and that is the same."""
    if os.geteuid() == 0:
        tmp_path.chmod(0o755)
    path = tmp_path / "file"
    path.write_text(CONFIG)
    path.chmod(0)
    nobody = ("setpriv", "--reuid", "65534", "--clear-groups", "--")
    for reader in ("check", "check --file-only", "keygen --add", "which"):
        done = process(*READERS[reader], str(path), before=nobody)
        assert done.returncode == statuses.WRONG, done.stderr
