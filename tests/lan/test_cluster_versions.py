"""Programs that speak other versions: upgraded host by host under load, and put back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import clusterip
from lab.wait import eventually
from tests.lan.clusters import site, watching

if TYPE_CHECKING:
    from lab.topology import Host
    from tests.lan.clusters import Site

SPOKEN = "SPOKEN: Final = Versions(1, 1)"
NEWER = "SPOKEN: Final = Versions(1, 2)"


def programs(folder: Path) -> tuple[Path, Path]:
    """Return this program, and one that speaks a version more: each the folder of its package."""
    package = Path(clusterip.__file__).parent
    both = folder / "older", folder / "newer"
    for one in both:
        shutil.copytree(package, one / package.name)
    versions = both[1] / package.name / "core" / "messages" / "versions.py"
    text = versions.read_text()
    assert SPOKEN in text
    versions.write_text(text.replace(SPOKEN, NEWER))
    return both


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
    older, newer = programs(tmp_path)
    with site() as web:
        hosts = web.lan.hosts
        for host in hosts:
            web.cluster.stop(host)
            install(host, older, tmp_path)
        web.cluster.start_all()
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
