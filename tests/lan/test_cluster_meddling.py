"""Somebody takes away what the daemon put on its interface: it is put back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lab.topology import VIP
from lab.wait import eventually
from tests.lan.clusters import Site, in_time, patiently, site, watching
from tests.lan.traces import traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

MAC = "01:00:5e:00:00:c4"
UNNOTICED = 1.0
"""How long a client may get no answer."""
WITHIN = 5.0
"""How long putting it back may take: on a busy machine it waits for other commands' lock."""


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("tc filter del dev eth0 ingress", "filters of tc"),
        ("tc filter del dev eth0 egress", "filters of tc"),
        ("tc qdisc del dev eth0 clsact", "filters of tc"),
        (f"ip address del {VIP}/32 dev eth0", f"the address {VIP}"),
        ("ip link set eth0 xdp off", "the XDP program"),
        ("nsenter -t {pid} -m rm -r {pins}", "the pins in bpffs"),
        (f"ip maddress del {MAC} dev eth0", f"{MAC} in the MAC filter"),
    ],
)
def test_put_back(web: Site, command: str, what: str) -> None:
    host = web.lan.hosts[1]
    before = traces(host)

    def scenario() -> None:
        held = web.cluster.settled()
        with watching(web, 200) as watch:
            # What `ip netns exec` runs does not see bpffs.
            host.run(*command.format(pid=os.getpid(), pins=host.pins).split())
            eventually(lambda: traces(host) == before, within=WITHIN, what="all to be put back")
            assert web.cluster.settled() == held
        seen = watch.seen
        seen.nothing_broke()
        in_time(f"{command}: longest gap", seen.gaps.longest, UNNOTICED)
        assert f"put back on eth0, for it was gone: {what}; find" in web.cluster.daemon(host).output

    patiently(web, scenario)


def test_an_interface_that_becomes_a_part_of_a_bridge_serves_nothing(web: Site) -> None:
    host = web.lan.hosts[1]
    before = traces(host)
    host.run(*["ip", "link", "add", "br9", "type", "bridge"])
    host.run(*["ip", "link", "set", "eth0", "master", "br9"])
    web.cluster.settled(web.others(host))
    told = eventually(lambda: _told(host, "not in our control"), what="show to tell of it")
    assert "not in our control" in told
    host.run(*["ip", "link", "delete", "br9"])
    web.cluster.settled()
    assert traces(host) == before


def test_an_interface_that_is_renamed_goes_on(web: Site) -> None:
    host, other = web.lan.hosts[1], web.lan.hosts[0]
    held = web.cluster.settled()
    host.run(*["ip", "link", "set", "eth0", "name", "foo0"])
    try:
        told = eventually(lambda: _told(host, "eth0 is called foo0"), what="show to tell of it")
        assert "is not heard" not in told
        # It ends only when the host says itself, to everybody on the link, that it is drained.
        other.clusterip("drain", host.name, "--wait")
        web.cluster.settled(web.others(host))
        other.clusterip("undrain", host.name)
        assert sorted(map(len, web.cluster.settled().values())) == sorted(map(len, held.values()))
        assert "no majority" not in web.cluster.daemon(host).output
    finally:
        host.run(*["ip", "link", "set", "foo0", "name", "eth0"])


def _told(host: Host, part: str) -> str:
    told = host.clusterip("show", check=False).stdout
    return told if part in told else ""
