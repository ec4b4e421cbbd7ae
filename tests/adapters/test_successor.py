"""A program that does not begin is found out beside this one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterip.adapters import successor
from clusterip.core.errors import SystemFaultError

PYTHON = (sys.executable, "-P", "-B")


def program(path: Path, text: str) -> tuple[str, ...]:
    file = path / "program"
    file.write_text(text)
    return (*PYTHON, str(file), "run", "-c", "/etc/clusterip.toml")


def absent(path: Path) -> tuple[str, ...]:
    return str(path / "python"), "run"


def not_executable(path: Path) -> tuple[str, ...]:
    return program(path, "")[3:]


def without_its_file(path: Path) -> tuple[str, ...]:
    return (*PYTHON, str(path / "nothing"))


def without_a_library(path: Path) -> tuple[str, ...]:
    return program(path, "import no_such_library")


def half_written(path: Path) -> tuple[str, ...]:
    return program(path, "def main(:")


def killed(path: Path) -> tuple[str, ...]:
    return program(path, "import os\nos.kill(os.getpid(), 9)")


def killed_by_another_signal(path: Path) -> tuple[str, ...]:
    return program(path, "import os\nos.kill(os.getpid(), 40)")


def empty(path: Path) -> tuple[str, ...]:
    return program(path, "")


def of_another_project(path: Path) -> tuple[str, ...]:
    return program(path, "print('hello 1.2')")


def that_says_much(path: Path) -> tuple[str, ...]:
    return program(path, "import sys\nsys.exit('x' * 100_000 + '\\n\\33[31mred')")


def that_prints_for_ever(path: Path) -> tuple[str, ...]:
    return program(path, "while True:\n print('x' * 1000)")


def that_only_quotes(path: Path) -> tuple[str, ...]:
    return program(
        path, "import sys\nsys.exit('unrecognized arguments: --version, and my disk is broken')"
    )


def of_fewer_options(path: Path) -> tuple[str, ...]:
    said = "unrecognized arguments: --log-format json --version"
    return program(path, f"import sys\nsys.exit({said!r})")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (absent, "/python: No such file or directory"),
        (not_executable, "/program: Permission denied"),
        (without_its_file, "can't open file"),
        (without_a_library, "No module named 'no_such_library' (exit status 1)"),
        (half_written, "SyntaxError: invalid syntax (exit status 1)"),
        (killed, "killed by SIGKILL"),
        (killed_by_another_signal, "killed by signal 40"),
        (empty, "it does not say of which release it is"),
        (of_another_project, "it does not say of which release it is"),
        (that_says_much, "?[31mred (exit status 1)"),
        (that_prints_for_ever, "File too large"),
        (that_only_quotes, "my disk is broken (exit status 1)"),
        (of_fewer_options, "--log-format json --version (exit status 1)"),
    ],
)
def test_what_does_not_begin(
    tmp_path: Path, broken: Callable[[Path], tuple[str, ...]], said: str
) -> None:
    words = broken(tmp_path)
    with pytest.raises(SystemFaultError) as refused:
        successor.refuse_broken(words)
    assert said in refused.value.message
    assert "does not start" in refused.value.message
    assert refused.value.message.endswith("; this daemon goes on serving")
    assert refused.value.cure.endswith(" --version")


def test_what_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(successor, "_LOADING_SECONDS", 0.3)
    with pytest.raises(SystemFaultError, match=r"it was not loaded after 0\.3 s"):
        successor.refuse_broken(program(tmp_path, "import time\ntime.sleep(60)"))


def test_what_begins(tmp_path: Path) -> None:
    successor.refuse_broken((sys.executable, "-m", "clusterip.cli.main", "run", "-c", "/x"))
    successor.refuse_broken((sys.executable, "-m", "clusterip.cli.main", "witness"))
    given = "import sys\nassert sys.argv[-1] == '--version'\nprint('clusterip 1.22.3rc1')"
    successor.refuse_broken(program(tmp_path, given))


def test_the_first_release_takes_all_words_but_one(tmp_path: Path) -> None:
    said = "clusterip run: error: unrecognized arguments: --version\n  cure: see --help"
    successor.refuse_broken(program(tmp_path, f"import sys\nsys.exit({said!r})"))


def test_words_that_a_release_does_not_know() -> None:
    words = (sys.executable, "-m", "clusterip.cli.main", "run", "--nothing")
    with pytest.raises(
        SystemFaultError, match=r"unrecognized arguments: --nothing \(exit status 2"
    ):
        successor.refuse_broken(words)
