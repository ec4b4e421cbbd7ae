"""The command as a whole: help, exit status, errors, pipes, rights."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clusterip import __version__
from clusterip.cli import main as module
from clusterip.cli.main import main
from clusterip.core.config.reading import read
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError, UsageError
from tests.cli.conftest import SOURCE, Process, environment

COMMANDS = tuple(
    next(one for one in module.parser()._actions if one.metavar == "COMMAND").choices or ()
)


def commands(text: str) -> list[str]:
    """Return the lines of the help that name a command."""
    lines = text.partition("\ncommands:\n")[2].partition("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("    ") and line[4] != " "]


def helped(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what --help says."""
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    out, err = capsys.readouterr()
    assert (end.value.code or 0, err) == (0, "")
    return out


def test_help(process: Process) -> None:
    for words in (("--help",), ("-h",)):
        done = process(*words)
        assert (done.returncode, done.stderr) == (0, "")
        listed = [line.split()[0] for line in commands(done.stdout)]
        assert listed[:3] == ["keygen", "check", "run"]
        assert sorted(listed) == sorted(COMMANDS), "each once"
        assert "exit status: 0 done; 1 refused, nothing changed; 2 bad command line" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_for_every_command(name: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, option])
    out, err = capsys.readouterr()
    assert (end.value.code or 0, err) == (0, "")
    assert out.startswith(f"usage: clusterip {name} ")


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=str)
def test_a_help_is_whole_at_80_columns(
    words: list[str],
    columns: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = helped(words, capsys).splitlines()
    assert [line for line in lines if len(line) > 79] == []
    assert any(line.startswith("exit status: ") for line in lines)


def test_the_file_in_the_help_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = re.findall(r"(?s)clusterip\.toml:\n\n(.*?\n)\n", helped([], capsys))
    file = read(textwrap.dedent(text))
    assert [node.name for node in file.nodes] == ["web1", "web2", "web3"]


def test_the_commands_there_are() -> None:
    first = {"iptables", "import", "bucket", "show", "which", "statefiles", "flush"}
    assert first <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_loads_its_own_family_only(name: str) -> None:
    (names,) = (names for names in module._FAMILIES.values() if name in names)
    needed = next(one for one in module.parser(name)._actions if one.metavar == "COMMAND")
    assert tuple(needed.choices or ()) == names


def test_a_daemon_that_restarts_loads_no_more_than_it_needs() -> None:
    loads = (
        "import sys; from clusterip.cli.main import parser; parser('run')\n"
        "import clusterip.runtime.serving; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", loads], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "clusterip.runtime.daemon" in loaded
    assert not {"rich", "numpy", "mfusepy", "sqlite3"} & set(loaded)


def test_version(process: Process) -> None:
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"clusterip {__version__}\n")


@pytest.mark.parametrize("words", [(), ("show", "bogus")])
def test_bad_command_lines(process: Process, words: tuple[str, ...]) -> None:
    done = process(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: clusterip")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--hlep", "--help"),
        ("--versoin", "--version"),
        ("-V", "--version"),
        ("-v", "--version"),
        ("-H", "--help"),
        ("--hlep=3", "--help"),
        ("-x", ""),
        ("-hx", ""),
        ("--bogus", ""),
    ],
)
@pytest.mark.parametrize("more", [(), ("show",)])
def test_an_option_that_is_not_there(
    option: str, meant: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, *more]) == 2
    cure = f"did you mean `clusterip {meant}`?" if meant else "see clusterip --help"
    said = f"clusterip: there is no option '{option}'\n  cure: {cure}\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("option", ["-h", "--he", "--vers", "--help"])
def test_an_option_that_is_there(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([option])
    assert (end.value.code, capsys.readouterr().err) == (0, "")


def test_iptables_alone_is_help_like(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iptables"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("clusterip: no command specified\n  cure: see clusterip iptables --help\n")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RefusedError("it is [bold]so", "do [red]that"), 1, "it is [bold]so\n  cure: do [red]that"),
        (UsageError("not so", "do it so"), 2, "not so\n  cure: do it so"),
        (SystemFaultError("no root", "be root"), 4, "no root\n  cure: be root"),
        (PermissionError(1, "Operation not permitted"), 4, "the system refused: [Errno 1]"),
        (OSError(28, "No space left on device"), 4, "the system refused: [Errno 28] No space"),
    ],
)
def test_errors_are_said_and_have_a_status(
    error: Exception,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_words: object) -> int:
        raise error

    monkeypatch.setattr(module, "_run", fail)
    assert main(["show"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"clusterip: {said}")


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_run", interrupt)
    assert main([]) == 130
    assert capsys.readouterr() == ("", "")


def test_long_messages_are_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = ClusterIPError("word " * 100 + "end", "cure " * 100)

    def fail(_words: object) -> int:
        raise long

    monkeypatch.setattr(module, "_run", fail)
    assert main([]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = f"'{sys.executable}' -m clusterip.cli.main"
    return subprocess.run(
        ("bash", "-o", "pipefail", "-c", line.replace("clusterip", command, 1)),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("run", "--help"), ("iptables", "-h")], ids=" ".join
)
def test_what_cannot_be_printed(words: tuple[str, ...], buffered: bool) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            (sys.executable, *(() if buffered else ("-u",)), "-m", "clusterip.cli.main", *words),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    error, cure = done.stderr.splitlines()
    assert error == f"clusterip: the system refused: [Errno 28] {os.strerror(28)}"
    assert cure == "  cure: make room where it writes to: see `df` and `df -i`"


def test_a_reader_that_has_seen_enough() -> None:
    done = shell("clusterip iptables --help | head -1")
    assert done.stdout == "usage: clusterip iptables -A|-I|-D|-C|-F|-S|-L|-Z ...\n"
    assert (done.returncode, done.stderr) == (0, "")


PACKAGES = next(Path(path) for path in sys.path if (Path(path) / "msgspec").is_dir())
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
FOR_NOBODY = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{SOURCE}:{PACKAGES}"}


@pytest.fixture(scope="module")
def as_nobody() -> tuple[str, ...]:
    """The words before what is to be run as a user who is not root."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if python is not None:
            words = (*NOBODY, python, "-m", "clusterip.cli.main")
            check = (*words, "--version")
            if not subprocess.run(
                check, env=FOR_NOBODY, cwd="/", capture_output=True, check=False
            ).returncode:
                return words
    pytest.skip("no Python here that a user other than root can run with what clusterip needs")


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("flush",),
        ("bucket", "10.9.0.100"),
        ("bucket", "10.9.0.100", "+1"),
        ("iptables", "-S"),
        ("iptables", "-F"),
        ("statefiles",),
    ],
)
@pytest.mark.root("to become nobody")
def test_without_root(as_nobody: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = subprocess.run(
        (*as_nobody, *words),
        env=FOR_NOBODY,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "needs root" in done.stderr
    assert "\n  cure: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--config="),
        ("run", "-c", ""),
        ("witness", "--config", ""),
        ("check", ""),
        ("keygen", ""),
        ("keygen", "", "--add"),
        ("import", ""),
        ("which", "--hashmode", "sourceip", "--total-nodes", "3", "--csv", ""),
        ("statefiles", "--mount", ""),
    ],
)
def test_an_empty_path(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "the name is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "cure"),
    [("stop", "`systemctl stop clusterip`, or end"), ("start", "`systemctl start clusterip`, or")],
)
def test_what_is_asked_of_the_service_manager(
    word: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    assert cure in capsys.readouterr().err
