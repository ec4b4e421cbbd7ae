"""A place for a daemon, and a log that has all a daemon says."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from tests.namespaces import own_namespace
from tests.runtime.places import PATIENCE, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with own_namespace() as pins, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        one = Place(tmp_path, pins, manager)
        yield one
        for daemon in one.daemons:
            daemon.process.kill()
            daemon.process.wait()
        shutil.rmtree(runfiles.folder_of("web").parent, ignore_errors=True)


@pytest.fixture
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clusterip")
