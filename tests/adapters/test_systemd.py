"""What a service manager is told, at a real socket."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from clusterip.adapters.systemd import Watchdog, notify, watchdog


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


def test_a_manager_that_does_not_read_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other,
            contextlib.suppress(BlockingIOError),
        ):
            while True:
                other.sendto(b"full", str(tmp_path / "notify"))
        began = time.monotonic()
        notify("WATCHDOG=1")
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("microseconds", "process", "wanted"),
    [
        ("20000000", None, 20.0),
        pytest.param("500000", str(os.getpid()), 0.5, id="ours"),
        ("500000", "1", None),
        (None, None, None),
        ("", "", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
    ],
)
def test_a_watchdog(
    microseconds: str | None,
    process: str | None,
    wanted: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", process)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog() == wanted


def test_it_is_fed_often_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        one = Watchdog()
        for now, told in ((0.0, True), (0.5, False), (0.99, False), (1.0, True), (3.0, True)):
            one.feed(now=now)
            if told:
                assert manager.recv(100) == b"WATCHDOG=1"
            with pytest.raises(BlockingIOError):
                manager.recv(100)
