"""What a service manager is told, at a real socket."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest

from clusterip.adapters.systemd import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"clusterip-{secrets.token_hex(8)}"
    path = f"@{name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else path)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"
        notify("STOPPING=1", "STATUS=draining")
        assert manager.recv(100) == b"STOPPING=1\nSTATUS=draining"


@pytest.mark.parametrize("path", [None, ""])
def test_there_is_none(path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if path is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1")


@pytest.mark.parametrize("name", ["gone", "left"])
def test_one_that_does_not_listen_any_more_stops_nobody(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "left"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / name))
    notify("STOPPING=1")
