"""Hosts that were copied with their files: two daemons run as one node, and one of them serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from clusterip.core.lease.timing import DEFAULT
from clusterip.core.units import SECOND
from lab.wait import eventually
from tests.lan.clusters import Site, site, watching

if TYPE_CHECKING:
    from lab.topology import Host

LONGEST = DEFAULT.promise(DEFAULT.restart) / SECOND
"""Seconds after which a daemon that starts may do all that any other may."""
WAYS = pytest.mark.parametrize("way", ["addresses", "broadcast"])


def begun(web: Site, way: str, doubles: dict[Host, Host]) -> None:
    """Start daemons as other hosts' nodes, and wait until each says that it serves nothing.

    By broadcast all hear all; what goes to the address of a node, its double does not hear.
    """
    file = web.cluster.file
    if way == "broadcast":
        own = {f'address = "{host.address}"' for host in web.lan.hosts}
        lines = [line for line in file.read_text().splitlines() if line not in own]
        file.write_text("\n".join(lines) + "\n")
        for host in web.cluster.hosts:
            host.clusterip("reload")
    for host, node in doubles.items():
        host.start("clusterip", "run", "--config", str(file), "--node", node.name)
    for host, node in doubles.items():
        # It hears the other one first, and a moment later that others hear that one.
        for words in (f"another host runs as this node, {node.name}", "this one serves nothing"):
            eventually(lambda: words in said(host), what=f"{host.name} to say so")  # noqa: B023


def said(host: Host) -> str:
    return " ".join(host.clusterip("show", check=False).stdout.split())


def wait(seconds: float) -> None:
    """Let them do what they would do by then."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end, within=2 * seconds)


@WAYS
def test_most_of_a_cluster(way: str) -> None:
    """The copies would be a majority of their own."""
    with site(5, members=3) as web:
        _, second, third, *copies = web.lan.hosts
        held = web.cluster.settled()
        with watching(web, 200) as watch:
            begun(web, way, dict(zip(copies, (second, third), strict=True)))
            wait(LONGEST + 2)
            assert web.cluster.held() == held
        watch.seen.nothing_broke()
        assert watch.seen.last_move == 0


@WAYS
def test_one_of_two_of_which_the_other_stops(way: str) -> None:
    with site(3, members=2) as web:
        first, second, copy = web.lan.hosts
        assert web.cluster.status(first)["quorum"] == "alive"
        with watching(web, 200) as watch:
            begun(web, way, {copy: second})
            wait(LONGEST + 2)
            web.cluster.stop(first)
            wait(LONGEST + 2)
            assert web.cluster.settled([second])
            assert not web.cluster.held([copy])[copy.name]
        watch.seen.only_broke(first)
