"""Programs that speak other versions: upgraded host by host under load, and put back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import clusterip
from lab.wait import eventually
from tests.lan.clusters import site, watching

if TYPE_CHECKING:
    from lab.topology import Host
    from tests.lan.clusters import Site

SPOKEN = "SPOKEN: Final = Versions(1, 1)"


def program(folder: Path, lowest: int, highest: int) -> Path:
    """Return this program as one that speaks these versions: the folder of its package."""
    package, made = Path(clusterip.__file__).parent, folder / f"{lowest}-{highest}"
    shutil.copytree(package, made / package.name)
    versions = made / package.name / "core" / "messages" / "versions.py"
    text = versions.read_text()
    assert SPOKEN in text
    versions.write_text(text.replace(SPOKEN, f"SPOKEN: Final = Versions({lowest}, {highest})"))
    return made


def begin(web: Site, *programs: Path, folder: Path) -> None:
    """Start all hosts anew, each with its program."""
    for host in web.lan.hosts:
        web.cluster.stop(host)
    for host, one in zip(web.lan.hosts, programs, strict=True):
        install(host, one, folder)
    web.cluster.start_all()


def install(host: Host, program: Path, folder: Path) -> None:
    """Have commands and daemons of a host be that program from their next start on."""
    installed = folder / host.name
    installed.unlink(missing_ok=True)
    installed.symlink_to(program)
    host.env["PYTHONPATH"] = str(installed)


def replaced(web: Site, host: Host, program: Path, folder: Path) -> None:
    install(host, program, folder)
    with watching(web, 200) as watch:
        host.clusterip("restart")
        web.cluster.settled()
    watch.seen.nothing_broke()


def spoken(host: Host) -> tuple[int, list[str]]:
    """Return in which version a host speaks, and who holds it down."""
    (cluster,) = host.show()["clusters"]
    return cluster["version"], cluster["held_down_by"]


def test_upgraded_host_by_host_and_put_back(tmp_path: Path) -> None:
    older, newer = program(tmp_path, 1, 1), program(tmp_path, 1, 2)
    with site() as web:
        hosts = web.lan.hosts
        begin(web, older, older, older, folder=tmp_path)
        web.cluster.settled()
        for host in hosts:
            assert spoken(host) == (1, [])
            replaced(web, host, newer, tmp_path)
        for host in hosts:
            eventually(lambda: spoken(host) == (2, []), what="the newer version")  # noqa: B023
        replaced(web, hosts[0], older, tmp_path)
        for host in hosts[1:]:
            assert spoken(host) == (1, [hosts[0].name])
        said = hosts[1].clusterip("show").stdout
        assert f"messages are said in version 1: no newer one for {hosts[0].name}" in said
        assert spoken(hosts[0]) == (1, [])


def test_those_who_have_one_in_common_come_together(tmp_path: Path) -> None:
    both, newer = program(tmp_path, 1, 2), program(tmp_path, 2, 2)
    with site() as web:
        begin(web, both, newer, newer, folder=tmp_path)
        web.cluster.settled()
        assert spoken(web.lan.hosts[0]) == (2, [])


def test_of_two_that_have_none_in_common_neither_serves(tmp_path: Path) -> None:
    """Not even the one that did, when the other begins; each names the other."""
    older, newer = program(tmp_path, 1, 1), program(tmp_path, 2, 2)
    with site(2) as web:
        first, second = web.lan.hosts
        begin(web, older, older, folder=tmp_path)
        web.cluster.settled()
        web.cluster.stop(second)
        web.cluster.settled([first])
        install(second, newer, tmp_path)
        web.cluster.start(second)
        eventually(lambda: not web.cluster.status(first)["held"], within=10, what="it stops")
        began = time.monotonic()
        while time.monotonic() < began + 7:  # one that heard nothing would go on alone
            assert [web.cluster.status(host)["held"] for host in web.lan.hosts] == [[], []]
            time.sleep(0.1)
        for host in web.lan.hosts:
            said = host.clusterip("show", check=False).stdout
            assert "(wrong version)" in said
            assert "of two hosts neither serves then" in " ".join(said.split())
            assert "hears nobody" not in said
