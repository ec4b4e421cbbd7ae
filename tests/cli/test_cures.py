"""Every error that reaches the terminal says how to cure it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import clusterip
from clusterip.cli.main import main
from clusterip.core.config.faults import Fault
from clusterip.core.errors import ClusterIPError
from clusterip.core.findings import Finding
from tests.cli.conftest import Process

SOURCES = sorted(Path(clusterip.__file__).parent.rglob("*.py"))
CURED = (ClusterIPError, Fault, Finding)
WITHIN = {"ConfigError"}
"""Its faults have a cure each."""


def kinds() -> Iterator[type]:
    """Yield each class of errors, and what is printed like one."""
    for module in pkgutil.walk_packages(clusterip.__path__, "clusterip."):
        for found in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(found) and issubclass(found, CURED) and found.__name__ not in WITHIN:
                yield found


KINDS = sorted(set(kinds()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_error_is_made_without(kind: type) -> None:
    given = inspect.signature(kind).parameters
    if given:
        assert given["cure"].default is inspect.Parameter.empty
    else:
        assert kind().cure


@pytest.mark.parametrize("module", SOURCES, ids=lambda path: path.name)
def test_no_cure_is_empty(module: Path) -> None:
    names = {kind.__name__ for kind in KINDS}
    for call in ast.walk(ast.parse(module.read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            given = [*call.args, *(word.value for word in call.keywords)]
            assert "" not in [one.value for one in given[1:] if isinstance(one, ast.Constant)]


def test_no_finding_is_made_without() -> None:
    assert inspect.signature(Finding.of).parameters["cure"].default is inspect.Parameter.empty
    calls = [
        call
        for module in SOURCES
        for call in ast.walk(ast.parse(module.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Finding.of"
    ]
    assert len(calls) > 20
    for call in calls:
        (cure,) = (word.value for word in call.keywords if word.arg == "cure")
        assert not (isinstance(cure, ast.Constant) and not cure.value), ast.unparse(call)


MISTAKES = {
    "drian": "did you mean `clusterip drain`?",
    "shw": "did you mean `clusterip show`?",
    "status": "did you mean `clusterip show`?",
    "start": "`systemctl start clusterip`, or `clusterip run`",
    "stop": "`systemctl stop clusterip`, or end `clusterip run`",
    "-A INPUT": "did you mean `clusterip iptables -A ...`?",
    "help": "did you mean `clusterip --help`?",
    "xyzzy": "see clusterip --help",
    "-x": "see clusterip --help",
    "show --jsno": "did you mean --json?",
    "show more": "see clusterip show --help",
    "drain --wiat=3": "did you mean --wait?",
    "weight 300": "see clusterip weight --help",
    "which --hashmode sourcep --total-nodes 3 --src ::1": "did you mean sourceip?",
    "which --hashmode sourceip --total-nodes 3000 --src ::1": "the file of the hosts",
    "which --csv /nonexistent --total-nodes 3": "give a CSV file",
    "iptables -A INPUT -j CLUSTERIP --new --clustrmac y": "did you mean --clustermac?",
    "keygen /tmp": "name a file in it",
    "keygen --drop 999": "before the colon of a line of the key file",
    "keygen /nonexistent/key": "see that /nonexistent is there",
    "check /nonexistent.toml": "write it (an example is ",
    "import /nonexistent": "give a file that iptables-save wrote",
}


@pytest.mark.parametrize("line", list(MISTAKES))
def test_mistakes(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(line.split())
    except SystemExit as error:
        status = int(str(error.code))
    out, err = capsys.readouterr()
    assert (status, out) == ({"keygen /nonexistent/key": 4, "keygen /tmp": 1}.get(line, 2), "")
    (cure,) = [one for one in err.splitlines() if one.startswith("  cure: ")]
    assert MISTAKES[line] in cure


@pytest.mark.root("mounts")
@pytest.mark.parametrize(
    "words", [("flush",), ("iptables", "-Z"), ("bucket", "10.9.0.100", "+1")], ids=" ".join
)
@pytest.mark.parametrize(
    ("mount", "cure"),
    [("-o ro", "mount -o remount,rw /run\n"), ("-o size=4k,nr_inodes=1", "see `df /run`")],
    ids=["read-only", "full"],
)
def test_a_run_that_cannot_be_written_to(
    folder: Path, process: Process, words: tuple[str, ...], mount: str, cure: str
) -> None:
    assert folder.name
    script = f'mount -t tmpfs {mount} none /run && exec "$@"'
    done = process(*words, before=("unshare", "--mount", "sh", "-c", script, "sh"))
    assert done.returncode == 4
    assert "the system refused: [Errno " in done.stderr
    assert "/run/clusterip.lock" in done.stderr
    assert cure in done.stderr
