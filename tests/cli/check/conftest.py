"""A file to check, and hosts that have it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from tests.cli.answering import answering
from tests.cli.check.asking import KEYS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a configuration that has nothing unwise, with its key file."""
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    path = tmp_path / "clusterip.toml"
    path.write_text(f"""\
[cluster]
name = "web"
interface = "eth0"
key_file = "{keys}"
[[vip]]
address = "10.9.0.100"
[[node]]
name = "web1"
address = "10.9.0.1"
[[node]]
name = "web2"
weight = 50
[[node]]
name = "web3"
[[node]]
name = "watch"
witness = true
[[node]]
name = "web4"
weight = 0
[[check]]
type = "tcp"
port = 80
""")
    return path


@pytest.fixture
def here(folder: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of web1, which has a namespace of its own, and /run too."""
    assert folder.name
    monkeypatch.setattr(runfiles, "ROOT", tmp_path / "run")
    monkeypatch.setattr(socket, "gethostname", lambda: "web1.example.org")
    return file


@pytest.fixture
def running(here: Path) -> Iterator[Path]:
    """Return the same, on a host where a daemon runs: the kernel need not be asked each time."""
    with answering():
        yield here
