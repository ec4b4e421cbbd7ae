"""A cluster that shares a VIP of each version of IP, with XDP or in tc alone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from lab.cluster import cluster_file
from lab.servers import HTTP_PORT, nginx
from lab.topology import VIP, lab
from tests.lan.asked import Asked
from tests.lan.clusters import Site, say
from tests.lan.reuse import number, to_each_bucket
from tests.lan.test_ipv6 import VIP6, with_ipv6
from tests.lan.test_refusals import attach_foreign_xdp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.topology import Host
    from lab.traffic import Flow

VIPS = (VIP, VIP6)


@contextlib.contextmanager
def site_of_both(*, xdp: bool) -> Iterator[Site]:
    """Build three hosts that share two VIPs, and their client."""
    with lab() as lan:
        with_ipv6(lan)
        lan.client.call(lambda: Path("/proc/sys/net/ipv4/tcp_tw_reuse").write_text("1"))
        for host in lan.hosts:
            nginx(host)
            if not xdp:
                attach_foreign_xdp(host)
        cluster = Asked(lan, cluster_file(lan, vips=VIPS))
        cluster.start_all()
        cluster.settled(within=30.0)
        (interface,) = lan.hosts[0].show()["interfaces"]
        assert interface["xdp"]["attached"] == xdp
        try:
            yield Site(lan, cluster)
        finally:
            cluster.kill_all()
            for log in sorted(lan.directory.glob("h*-clusterip.log")):
                say(f"---- {log.name}\n{log.read_text()}")


def to_all(where: Site) -> list[Flow]:
    """Return a flow to each bucket of each VIP."""
    return [one for vip in VIPS for one in to_each_bucket(where.lan.client, vip, HTTP_PORT)]


def holders(some: Sequence[Flow], held: dict[str, list[int]]) -> dict[Flow, str]:
    """Return whose each flow is, where hosts hold these buckets."""
    of = {one: name for name, buckets in held.items() for one in buckets}
    return {flow: of[number(flow)] for flow in some}


def drained(where: Site, host: Host) -> dict[str, list[int]]:
    """Drain a host, and return who holds what then."""
    host.clusterip("drain")
    return where.cluster.settled(where.others(host))


def given_back(where: Site, host: Host) -> dict[str, list[int]]:
    """Take a drain back, and return who holds what then."""
    host.clusterip("undrain")
    return where.cluster.settled()
