"""Mistakes in names and addresses that cost nothing at once: they are named all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from clusterip.core.findings import Finding
from lab.cluster import cluster_file
from lab.topology import lab
from lab.wait import eventually
from tests.lan.asked import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

WITHIN = 15.0
SPARE = "10.9.0.93"
"""An address that no host has."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Asked]:
    """Three hosts that serve, and a fourth that is none of them."""
    with lab(4) as lan:
        made = Asked(lan, cluster_file(lan, hosts=lan.hosts[:3]))
        made.start_all()
        made.settled()
        yield made
        made.kill_all()


def faults(host: Host) -> str:
    (one,) = host.show()["clusters"]
    return one["fault"] or " ".join(msgspec.convert(fault, Finding).line for fault in one["faults"])


def test_two_hosts_that_run_as_one_node(cluster: Asked) -> None:
    first, second, third = cluster.hosts
    fourth = cluster.lab.hosts[3]
    held = cluster.settled()
    double = fourth.start("clusterip", "run", "--config", str(cluster.file), "--node", second.name)
    try:
        rival = f"a second daemon runs as {second.name}, at {fourth.address}"
        doubled = f"another host runs as this node, {second.name}"
        for host, words in ((first, rival), (third, rival), (second, doubled), (fourth, doubled)):
            eventually(lambda: words in faults(host), within=WITHIN, what=f"{host.name} to say so")  # noqa: B023
            assert host.clusterip("show", check=False).returncode == 1
            daemon = double if host is fourth else cluster.daemon(host)
            assert words in daemon.output
        assert cluster.held(cluster.hosts) == held
    finally:
        double.stop()
    for host in cluster.hosts:
        eventually(lambda: not faults(host), within=WITHIN, what=f"{host.name} to be content")  # noqa: B023
    assert cluster.settled() == held


def test_a_wrong_address_that_broadcasts_make_up_for(cluster: Asked) -> None:
    first, second, third = cluster.hosts
    held = cluster.settled()
    good = cluster.file.read_text()
    cluster.file.write_text(good.replace(f'"{third.address}"', f'"{SPARE}"'))
    first.clusterip("reload")
    words = f"{third.name} is not reached at {SPARE}, its address in the file here"
    eventually(lambda: words in faults(first), within=WITHIN, what="it to be said")
    assert f"its messages come from {third.address}: mend" in faults(first)
    assert words in cluster.daemon(first).output
    checked = first.clusterip("check", str(cluster.file), "--node", first.name, check=False)
    assert "is not reached at" in " ".join((checked.stdout + checked.stderr).split())
    assert (faults(second), faults(third)) == ("", "")
    cluster.file.write_text(good)
    first.clusterip("reload")
    eventually(lambda: not faults(first), within=WITHIN, what="all to be well")
    assert cluster.settled() == held
