"""Streams through a shared address, with the real thing: iperf3."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.servers import iperf3
from lab.topology import VIP
from tests.lan.cluster import Sharing, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.processes import Process
    from lab.topology import Host, Lab

# iperf3 opens two connections: the hash of the source address alone keeps them together.
SHARING = Sharing("sourceip")


@contextlib.contextmanager
def servers(lan: Lab) -> Iterator[dict[str, Process]]:
    started = {host.name: iperf3(host, VIP) for host in lan.hosts}
    try:
        yield started
    finally:
        for server in started.values():
            server.stop()


def served(started: dict[str, Process]) -> set[str]:
    return {name for name, server in started.items() if "Accepted connection" in server.output}


def stream(lan: Lab, source: str, *options: str) -> Any:
    arguments = ("--client", VIP, "--bind", source, "--json", *options)
    return json.loads(lan.client.run("iperf3", *arguments).stdout)["end"]


def test_datagrams_reach_one_host_and_all_of_them(lan: Lab) -> None:
    share(lan, SHARING)
    for source in lan.client.addresses[:4]:
        with servers(lan) as started:
            # Slow enough for the server's socket buffer to outlast a busy machine's pauses:
            # what is lost there was not lost on the way.
            end = stream(lan, source, "--udp", "--bitrate", "1M", "--length", "1000", "--time", "1")
            assert end["sum"]["lost_packets"] == 0
            assert end["sum"]["packets"] > 100
            assert served(started) == {f"h{SHARING.bucket_of(source)}"}


@pytest.mark.parametrize("xdp", ["off", "require"])
def test_large_segments(lan: Lab, xdp: str) -> None:
    """Segmentation offload hands the stack packets of 64 kB, not all of them in one piece."""

    def join(host: Host) -> None:
        host.clusterip("iptables", "--xdp", xdp, "-A", *SHARING.new(host.number))
        host.add_address(VIP)

    lan.on_hosts(join)
    with servers(lan) as started:
        for direction in ([], ["--reverse"]):
            # With sockets that grow, a busy receiver misses the count of 15 MB that are under way.
            sizes = ("--bytes", "100M", "--window", "200K")
            end = stream(lan, lan.client.address, *sizes, *direction)
            assert end["sum_received"]["bytes"] > 90_000_000
        assert served(started) == {f"h{SHARING.bucket_of(lan.client.address)}"}
