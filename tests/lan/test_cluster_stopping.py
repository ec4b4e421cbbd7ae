"""A stop that drains, on hosts of the lab: nobody takes it back, and whoever looks sees it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from lab.wait import eventually
from tests.lan.clusters import site, ssh_session_at, sshd

if TYPE_CHECKING:
    from lab.topology import Host


def refused(host: Host, *words: str) -> str:
    done = host.clusterip(*words, check=False)
    assert done.returncode == 1, (words, done.stdout, done.stderr)
    return done.stderr


def test_a_stop_is_not_taken_back() -> None:
    with site(stop="drain", drain_timeout="60s") as web:
        sshd(web.lan)
        host, other = web.lan.hosts[:2]
        session = ssh_session_at(web, host)
        daemon = web.cluster.daemon(host)
        os.kill(daemon.pid, signal.SIGINT)
        eventually(lambda: len(web.cluster.status(host)["draining"]) == 1, what="one bucket left")
        for words in (["undrain"], ["weight", "200"], ["restart"]):
            said = refused(host, *words)
            assert "this node is stopping, and ends in " in said
            assert "start it again when it has ended" in said
        said = refused(other, "undrain", host.name)
        assert f"{host.name} is to stop, and drains first" in said
        assert "start its daemon again: then it takes part" in said
        status = web.cluster.status(host)
        assert 30 < status["stopping_seconds"] <= 70
        assert status["leaving"]
        assert status["held"] == []
        assert "stopping: ends in " in host.clusterip("show").stdout
        assert web.cluster.status(other)["stopping_seconds"] is None
        session.end()
        eventually(lambda: not daemon.running, what="the daemon to end after the last connection")
        assert daemon.stop() == 0
