"""`clusterip check` within the test, and what it said."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from clusterip.cli import check
from clusterip.core.config.key_file import Key, new_file

KEYS = new_file(Key(1, bytes(32)))
needs_root = pytest.mark.root("network namespaces")


def ask(*words: object) -> int:
    """Check a file alone."""
    return check_here("--file-only", *words)


def check_here(*words: object) -> int:
    """Check a file and this host."""
    parser = argparse.ArgumentParser()
    check.add_to(parser.add_subparsers())
    arguments = parser.parse_args(["check", *map(str, words)])
    status: int = arguments.run(arguments)
    return status


def host_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was said of this host, without the cures."""
    err = capsys.readouterr().err
    return [one.partition("this host:")[2][1:] for one in err.splitlines() if "this host:" in one]


def faults(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what was said of files, without the cures."""
    err = capsys.readouterr().err
    words = ("  cure:", "this host:", ": warning:")
    return [one for one in err.splitlines() if not any(word in one for word in words)]


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what was said with --json."""
    return json.loads(capsys.readouterr().out)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
