"""The program that serves the status socket asks the daemon for a snapshot when one can be made."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

from clusterip.adapters.statusserver import SNAPSHOT_SECONDS, Server
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello, Look


def test_the_daemon_is_asked_when_it_can_answer(tmp_path: Path) -> None:
    """Else it would be woken once to be asked, and once more to answer."""
    path = str(tmp_path / "status")
    daemon, pipe = socket.socketpair()
    with closing(daemon), closing(pipe), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        serving = threading.Thread(target=Server(listener, pipe).run)
        serving.start()
        hello = Hello(cluster="web", node="web1", pid=1, journal="j")
        daemon.sendall(b"h" + feed.encode(hello))
        daemon.settimeout(5)
        with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as lines:
            client.connect(path)
            client.settimeout(5)
            assert b"web1" in lines.readline()
            asked = []
            for _ in range(3):
                client.sendall(feed.encode(Look()))
                assert daemon.recv(16) == b"w\n"
                asked.append(time.monotonic())
                daemon.sendall(b"s%d {}\n" % time.clock_gettime_ns(time.CLOCK_BOOTTIME))
                assert lines.readline()
            waits = [after - before for before, after in itertools.pairwise(asked)]
            assert all(wait > SNAPSHOT_SECONDS * 0.98 for wait in waits)
        daemon.close()
        serving.join(5)
