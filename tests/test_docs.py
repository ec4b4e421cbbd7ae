"""The documents say what the code does: dependencies, modules, limits, links."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from clusterip.core import limits
from clusterip.core.events import KINDS, Event
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import Entry
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.rules import grammar as rules
from clusterip.core.units import MILLISECOND
from tests.cli.conftest import environment

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "clusterip"
README = ROOT / "README.md"
BY_HAND = ROOT / "docs" / "by-hand.md"
LIMITS = ROOT / "docs" / "limits.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
OPERATIONS = ROOT / "docs" / "operations.md"
FINDINGS = ROOT / "docs" / "findings.md"
EVENTS = ROOT / "docs" / "events.md"
MANUAL = ROOT / "man" / "clusterip.8"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))


def names(word: str, text: str) -> bool:
    """Whether `text` has `word`, not as a part of a longer option or name."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def section(page: Path, heading: str) -> str:
    """Return what stands under a heading of the second level."""
    parts = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    (found,) = (part for part in parts if part.startswith(f"{heading}\n"))
    return found


def first_cells(text: str) -> list[str]:
    """Return the first cell of each row of the Markdown tables, without their headings."""
    rows = re.findall(r"^\| (.*?) \|", text, flags=re.MULTILINE)
    headings = re.findall(r"^\| (.*?) \|.*\n\|[-|]+\|$", text, flags=re.MULTILINE)
    return [row for row in rows if row not in headings]


def requirement(text: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", text)
    assert found
    return found[0].lower()


def dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists: Iterable[list[str]] = (
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    )
    return {requirement(one) for some in lists for one in some}


def test_every_dependency_is_defended() -> None:
    rows = set(first_cells(section(ARCHITECTURE, "Dependencies")))
    assert dependencies() <= rows
    ours = {row for row in rows if not row.startswith("lib")}
    assert ours <= dependencies()


@pytest.mark.parametrize("library", ["libbpf1", "libfuse3-3"])
def test_every_library_is_defended_and_installed(library: str) -> None:
    assert any(
        row.startswith(library) for row in first_cells(section(ARCHITECTURE, "Dependencies"))
    )
    assert names(library, README.read_text())


def test_the_page_of_modules_is_what_they_say() -> None:
    made = subprocess.check_output((ROOT / "scripts" / "modules",), text=True)
    assert made == (ROOT / "docs" / "modules.md").read_text(), "make modules writes it anew"
    for path in PACKAGE.rglob("*.py"):
        assert f"| `{path.stem}` |" in made or path.stem == "__init__"


def test_the_contents_of_the_architecture_are_complete() -> None:
    text = ARCHITECTURE.read_text()
    contents = text.partition("\n## ")[0]
    headings = re.findall(r"^##+ (.*)$", text, flags=re.MULTILINE)
    listed = re.findall(r"\[(.*?)\]\(#", contents)
    assert [one.lower() for one in listed] == [one.lower() for one in headings]


def test_figures_fit_a_screen() -> None:
    """A picture in a wrapped line is none."""
    for page in (README, ARCHITECTURE):
        parts = re.split(r"^```(.*)$", page.read_text(), flags=re.MULTILINE)
        # Text, what stands behind the mark, what is between two marks, nothing, and again.
        for kind, figure in zip(parts[1::4], parts[2::4], strict=True):
            if not kind:
                assert max(map(len, figure.splitlines())) <= 100, page.name


def test_the_page_of_findings_is_the_catalogue() -> None:
    text = FINDINGS.read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| (.+) \|$", text, flags=re.MULTILINE)
    assert [(code, severity, meaning) for code, severity, meaning, _ in rows] == [
        (code.value, code.severity.value, code.meaning) for code in Code
    ]
    described = first_cells(text.partition("## ")[0])
    assert tuple(described) == Finding.__struct_fields__


def test_the_page_of_events_is_their_catalogue() -> None:
    text = EVENTS.read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.+) \|$", text, flags=re.MULTILINE)
    assert [(kind, meaning, keys) for kind, meaning, keys in rows] == [
        (one.__struct_config__.tag, _meaning(one), _keys(one)) for one in KINDS
    ]
    told = first_cells(text.partition("## ")[0])
    assert tuple(told) == Entry.__struct_fields__


def _meaning(kind: type[Event]) -> str:
    first = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    return first[0].lower() + first[1:]


def _keys(kind: type[Event]) -> str:
    return ", ".join(f"`{one.encode_name}`" for one in msgspec.structs.fields(kind)) or "none"


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: str(one.__name__))
def test_each_kind_is_told_somewhere(kind: type[Event]) -> None:
    catalogue = PACKAGE / "core" / "events"
    sources = [one.read_text() for one in PACKAGE.rglob("*.py") if catalogue not in one.parents]
    assert any(f"{kind.__name__}(" in one for one in sources)


@pytest.mark.parametrize("code", Code, ids=str)
def test_each_code_is_told_somewhere(code: Code) -> None:
    catalogue = PACKAGE / "core" / "findings.py"
    sources = [one.read_text() for one in PACKAGE.rglob("*.py") if one != catalogue]
    # `read` says of itself which code it gives.
    sources.append(catalogue.read_text().partition("class Finding(")[2])
    assert any(names(f"Code.{code.name}", one) for one in sources)


def test_the_commands_of_the_readme_are_targets() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", README.read_text(), flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 130


def test_the_limits_that_are_told() -> None:
    rows = re.findall(r"^\| (.*?) \| (\d+) \|$", LIMITS.read_text(), flags=re.MULTILINE)
    told = {what: int(count) for what, count in rows}
    assert told == {
        "VIPs": min(limits.VIPS, limits.GROUPS),
        "buckets of a VIP": limits.BUCKETS,
        "rules": limits.RULES - 1,
        "different conditions on the source (`-s`, `--sport`) for one destination port": (
            limits.CHAIN
        ),
    }


def rule_commands(page: Path) -> list[str]:
    """Return the `clusterip iptables` commands that a page shows in full."""
    text = page.read_text().replace(r"\-", "-").replace("\\\\\n", " ").replace("\\\n", " ")
    lines = (re.sub(r"\s+#.*", "", line) for line in text.splitlines())
    return [line for line in lines if re.match(r"clusterip iptables -A .* -j CLUSTERIP", line)]


@pytest.mark.parametrize("page", [BY_HAND, MANUAL], ids=lambda page: page.name)
def test_the_rules_shown_are_taken(page: Path) -> None:
    shown = rule_commands(page)
    assert len(shown) >= 2
    for command in shown:
        assert rules.parse(command.split()[2:]).rules


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in anchors
        elif "://" not in link:
            assert (page.parent / link.partition("#")[0]).exists(), link


# Sends each signal to a process of its own, and prints which it does not survive.
ENDS = """
import os, signal
for number in signal.valid_signals():
    if (child := os.fork()) == 0:
        from clusterip.adapters import signals
        signals.hold()
        os.kill(os.getpid(), number)
        os._exit(0)
    status = os.waitpid(child, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    elif os.WIFSIGNALED(status):
        print(number)
"""


def test_the_signals_that_end_a_daemon() -> None:
    rows = re.findall(
        r"^\| (.*?) \| ends at once", section(OPERATIONS, "Signals"), flags=re.MULTILINE
    )
    told = {f"SIG{name}" for row in rows for name in re.findall(r"[A-Z0-9]+", row)}
    words = (sys.executable, "-c", ENDS)
    ends = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    numbers = {int(one) for one in ends.stdout.split()} - {signal.SIGKILL}
    real_time = set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    assert real_time <= numbers
    ends_named = {signal.Signals(one).name for one in numbers - real_time}
    assert told == ends_named | {"SIGRTMIN", "SIGRTMAX"}


def test_the_rate_of_the_clocks_that_is_asked_for() -> None:
    text = section(OPERATIONS, "Clocks")
    asked = re.search(r"^maxslewrate (\d+)$", text, flags=re.MULTILINE)
    assert asked
    lease, promise = DEFAULT.lease, DEFAULT.promise(DEFAULT.lease)
    for ppm, holds in ((int(asked[1]), True), (83333, False)):
        rate = ppm / 10**6
        # At worst the holder's clock is slow and the voter's fast.
        assert (lease / (1 - rate) < promise / (1 + rate)) is holds
    assert f"waits {promise / MILLISECOND:.1f} ms for a lease of {lease // MILLISECOND} ms" in text
    assert (
        f"(83333 ppm)**: then a lease of 700 ms lasts up to {700 / (1 - 0.083333):.0f} ms" in text
    )


def test_each_licence_is_there() -> None:
    assert "see bpf/LICENSE" in (ROOT / "LICENSE").read_text()
    assert "Version 2, June 1991" in (ROOT / "bpf" / "LICENSE").read_text()
    for source in (ROOT / "bpf").glob("*.[ch]"):
        assert "SPDX-License-Identifier: GPL-2.0-only" in source.read_text().splitlines()[0]
