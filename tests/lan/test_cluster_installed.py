"""Daemons of a program that `make install` put below a prefix, replaced under load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lan.clusters import site
from tests.lan.unbroken import nothing_lost
from tests.test_install import PREFIX, READY, make

if TYPE_CHECKING:
    from pathlib import Path

    from lab.topology import Lab

pytestmark = pytest.mark.skipif(not READY.exists(), reason="there is no .venv; make dev makes it")


def test_replaced_by_an_upgrade(tmp_path: Path) -> None:
    make("install", tmp_path)
    commands = tmp_path / PREFIX.lstrip("/") / "bin"

    def installed(lan: Lab) -> None:
        for host in lan.hosts:
            host.env["PATH"] = f"{commands}:{host.env['PATH']}"

    with site(installed=installed) as web:
        host = web.lan.hosts[0]
        before, held = web.cluster.status(host), web.cluster.held()
        assert str(commands) in host.run("cat", f"/proc/{before['pid']}/cmdline").stdout
        with nothing_lost(web):
            make("install", tmp_path)
            host.clusterip("restart")
            web.cluster.settled()
            assert web.cluster.held() == held
        after = web.cluster.status(host)
        assert (after["boot"], after["pid"]) == (before["boot"], before["pid"])
        assert after["started"] > before["started"]
