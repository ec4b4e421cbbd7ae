"""What each command loads: what is slow to load only where it is needed.

A command is run in a process of its own; the modules that are there at its end are what counts.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clusterip.cli import main
from tests.cli.conftest import environment
from tests.namespaces import own_namespace

LOADS = """\
import sys
sys.argv = ["clusterip", *sys.argv[1:]]
from clusterip.cli.entry import main
try:
    main()
except SystemExit:
    pass
print("loaded:", *sys.modules, file=sys.stderr)
"""
SLOW = frozenset({"rich", "asyncio", "numpy", "mfusepy", "subprocess", "hashlib", "tempfile"})
"""What takes several ms to load each."""
OURS = frozenset(
    {
        *("core.config.reading", "core.lease.node", "core.packets.compile", "runtime.change"),
        *("adapters.telling", "core.events", "core.status"),
    }
)
"""Of our own what much else comes with, by its name below clusterip."""

ALLOWED: dict[str, set[str]] = {
    "--version": set(),
    "--help": set(),
    "shwo": {"difflib"},
    "show": {"core.status"},
    "show --json": {"core.status"},
    "events": {"core.status", "core.events"},
    "which --hashmode sourceip --total-nodes 3 --src 192.0.2.7": {"core.status"},
    "iptables -S": set(),
    "iptables -L": set(),
    "bucket 10.9.0.100": {"core.status"},
    "iptables -A": set(),
}
"""Of the slow ones, what each command may load where there is nothing to say of it."""


def loaded(words: str, directory: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *words.split()],
        check=False,
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(),
    )
    said = done.stderr.rpartition("loaded: ")[2].split()
    assert "clusterip.cli.main" in said, done.stderr
    return {one.removeprefix("clusterip.") for one in said}


@pytest.mark.root("network namespaces")
@pytest.mark.parametrize("words", ALLOWED)
def test_what_is_slow_is_loaded_where_it_is_needed(words: str, tmp_path: Path) -> None:
    with own_namespace():
        assert loaded(words, tmp_path) & (SLOW | OURS) <= ALLOWED[words]


def test_a_mistake_and_the_help_load_no_command(tmp_path: Path) -> None:
    families = {f"cli.{one}" for one in main._FAMILIES}
    for words in ("--version", "--help", "shwo", "-x", ""):
        assert not loaded(words, tmp_path) & families


def test_every_command_is_in_the_help() -> None:
    helped = [name for some in main._GROUPS.values() for name in some]
    assert sorted(helped) == sorted(name for names in main._FAMILIES.values() for name in names)


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_is_ours_is_there_under_that_name(name: str) -> None:
    assert find_spec(f"clusterip.{name}") is not None
