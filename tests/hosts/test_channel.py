"""Questions to QEMU: late answers and events are passed over, refusals are raised."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from lab.hosts.channel import Channel, Refused


def serving(path: Path, *replies: object) -> threading.Thread:
    """Answer one question with these lines; "id" 0 in a reply becomes that of the question."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as one, one.makefile("rwb") as file:
            number = json.loads(file.readline())["id"]
            for reply in replies:
                text = json.dumps(reply).replace('"id": 0', f'"id": {number}')
                file.write(text.encode() + b"\n")
            file.flush()
            file.readline()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_an_answer_among_others(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    thread = serving(path, {"event": "STOP"}, {"return": 1, "id": 99}, {"return": 2, "id": 0})
    channel = Channel(path)
    assert channel.ask("stop") == 2
    channel.close()
    thread.join()


def test_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    thread = serving(path, {"error": {"desc": "no such device"}, "id": 0})
    channel = Channel(path)
    with pytest.raises(Refused, match="device_del: no such device"):
        channel.ask("device_del")
    channel.close()
    thread.join()


def test_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    thread = serving(path)
    channel = Channel(path)
    with pytest.raises(TimeoutError):
        channel.ask("guest-ping", within=0.1)
    channel.close()
    thread.join()
