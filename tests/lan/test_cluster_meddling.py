"""Somebody takes away what the daemon put on its interface: it is put back."""

from __future__ import annotations

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
UNTOLD = 12.0
"""The kernel tells nobody of a change of the MAC filter: the daemon looks every 10 seconds."""


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site() as made:
        yield made


@pytest.mark.parametrize(
    ("command", "within", "what"),
    [
        ("tc filter del dev eth0 ingress", WITHIN, "filters of tc"),
        ("tc filter del dev eth0 egress", WITHIN, "filters of tc"),
        ("tc qdisc del dev eth0 clsact", WITHIN, "filters of tc"),
        (f"ip address del {VIP}/32 dev eth0", WITHIN, f"the address {VIP}"),
        ("ip link set eth0 xdp off", WITHIN, "the XDP program"),
        (f"ip maddress del {MAC} dev eth0", UNTOLD, f"{MAC.upper()} in the MAC filter"),
    ],
)
def test_put_back(web: Site, command: str, within: float, what: str) -> None:
    host = web.lan.hosts[1]
    before = traces(host)

    def scenario() -> None:
        held = web.cluster.settled()
        with watching(web, 200) as watch:
            host.run(*command.split())
            eventually(lambda: traces(host) == before, within=within, what="all to be put back")
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
    told = eventually(lambda: _trouble(web, host), what="show to tell of it")
    assert "not in our control" in told
    host.run(*["ip", "link", "delete", "br9"])
    web.cluster.settled()
    assert traces(host) == before


def _trouble(web: Site, host: Host) -> str:
    told = host.clusterip("show", check=False).stdout
    return told if "not in our control" in told else ""
