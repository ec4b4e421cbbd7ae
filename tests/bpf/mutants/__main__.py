"""`python -m tests.bpf.mutants [--jobs N] [WORD ...]`: does some test notice each mutant?

Each is compiled in a copy of the tree, where tests/bpf must fail. Words choose those mutants that
have one of them in the name of the file or in what they break; equivalent ones must be named so.
"""

from __future__ import annotations

import argparse
import functools
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bpf.mutants import MUTANTS
from tests.bpf.mutants.kind import SOURCE, Mutant

ROOT = SOURCE.parent
COPIED = ("bpf", "docs", "lab", "src", "tests", "Makefile", "pyproject.toml")
SOONEST = {
    "arp.h": "test_arp.py",
    "beat.h": "test_beat.py",
    "clusterip.bpf.c": "test_live.py",
    "frame.h": "test_live.py",
    "guard.h": "test_guard.py",
    "maps.h": "test_fragments.py",
    "neighbour.h": "test_neighbour.py",
    "plain.h": "test_plain.py",
    "sent.h": "test_sent.py",
    "siphash.h": "test_beat.py",
    "socket.h": "test_cookies.py",
    "takeover.h": "test_carry.py",
}
"""The test that is most likely to notice, where that is not the differential one."""
NOT_ASKED = {"test_mutants.py", "test_object.py", "test_abi.py"}
"""What says nothing about packets."""
ENOUGH = (
    "tests/bpf/test_differential.py::test_every_verdict_was_among_them",
    "tests/bpf/test_plain.py::test_much_was_decided_by_it",
    "tests/bpf/test_sent.py::test_every_reason_was_among_them",
)
"""Hold for more frames than a mutant is given."""
SURVIVED, BROKEN = "SURVIVED", "does not compile"

say = functools.partial(print, flush=True)


def copy(folder: Path) -> Path:
    """Copy what is needed to compile the programs and to test them."""
    for name in COPIED:
        whole = ROOT / name
        if whole.is_dir():
            shutil.copytree(whole, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(whole, folder)
    return folder


def suite(tree: Path, file: str) -> list[str]:
    """Return the test modules, that one first which notices a fault in the file the soonest."""
    first = SOONEST.get(file, "test_differential.py")
    modules = {path.name for path in (tree / "tests" / "bpf").glob("test_*.py")} - NOT_ASKED
    return [f"tests/bpf/{name}" for name in (first, *sorted(modules - {first}))]


def verdict(tree: Path, mutant: Mutant) -> str:
    """Return which test fails with the mutant, or what else became of it."""
    path = tree / "bpf" / mutant.file
    original = path.read_text(encoding="ascii")
    path.write_text(mutant.applied(original), encoding="ascii")
    try:
        return noticed(tree, suite(tree, mutant.file)) if compiled(tree) else BROKEN
    finally:
        path.write_text(original, encoding="ascii")


def compiled(tree: Path) -> bool:
    """Compile, without warnings: a mutant may leave a variable unused."""
    command = ("make", "object", "CLANG=clang -w")
    return not subprocess.run(command, cwd=tree, capture_output=True, check=False).returncode


def noticed(tree: Path, modules: Sequence[str]) -> str:
    """Run test modules until one fails; return its name."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider"),
            # Always the same few examples, and no time for making a failing one smaller.
            *("--hypothesis-profile=mutants", *(f"--deselect={one}" for one in ENOUGH), *modules),
        ),
        cwd=tree,
        env={**os.environ, "PYTHONPATH": f"{tree / 'src'}:{tree}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == pytest.ExitCode.OK:
        return SURVIVED
    if done.returncode != pytest.ExitCode.TESTS_FAILED:
        # What cannot even be collected says nothing about the mutant.
        raise RuntimeError(f"the tests did not run: {done.stdout}{done.stderr}")
    if "the kernel refused the BPF programs" in done.stdout:
        return "the verifier"
    name, *_ = re.findall(r"^(?:FAILED|ERROR) tests/bpf/(\S+)", done.stdout, re.MULTILINE)
    return str(name)


def chosen(words: Sequence[str]) -> list[Mutant]:
    """Return the mutants that the words ask for."""
    if not words:
        return [one for one in MUTANTS if not one.same]
    return [one for one in MUTANTS if any(word in f"{one.file} {one.breaks}" for word in words)]


def row(mutant: Mutant, outcome: str) -> str:
    """Return a line of the table."""
    change = f"{mutant.old.strip()!r} -> {mutant.new.strip()!r}"
    return f"{mutant.file:16} {mutant.breaks:46} {outcome:50} {change}"


def main() -> int:
    """Read the command line and run; the exit status is 1 if a mutant survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.bpf.mutants", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only these mutants")
    arguments = parser.parse_args()
    began = time.monotonic()
    some = chosen(arguments.words)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(arguments.jobs):
            (Path(folder) / str(number)).mkdir()
            trees.put(copy(Path(folder) / str(number)))

        first = Path(folder) / "0"
        outcome = noticed(first, suite(first, "")) if compiled(first) else BROKEN
        if outcome != SURVIVED:
            raise RuntimeError(f"without any mutant: {outcome}")

        def tried(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                return verdict(tree, mutant)
            finally:
                trees.put(tree)

        bad = 0
        for mutant, outcome in zip(some, pool.map(tried, some), strict=True):
            bad += (outcome == SURVIVED and not mutant.same) or outcome == BROKEN
            say(row(mutant, outcome))
    alike = sum(bool(one.same) for one in MUTANTS)
    took = time.monotonic() - began
    say(f"{len(some)} mutants, {bad} not noticed, in {took:.0f} s; {alike} are equivalent")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
