"""What costs no client anything: every datagram is answered once, and every connection goes on."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from lab.topology import VIP
from tests.lan.clusters import watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lan.clusters import Site, Watch


@contextlib.contextmanager
def nothing_lost(web: Site) -> Iterator[Watch]:
    """Have clients of every kind at work meanwhile, and none of them notice anything."""
    before = sum(one.call(_unread) for one in web.lan.hosts)
    with pinged(web), watching(web, 200) as watch:
        yield watch
    watch.seen.nothing_broke()
    lost = {one.bucket: one.unanswered for one in watch.seen.gaps.streams if one.unanswered}
    gaps = {one.bucket: round(one.longest, 3) for one in watch.seen.gaps.streams}
    # A server that has no processor for long enough loses what the kernel let in.
    by_servers = sum(one.call(_unread) for one in web.lan.hosts) - before
    assert sum(lost.values()) <= by_servers, (lost, by_servers, gaps)
    assert watch.seen.slowest_syn < 1.0


@contextlib.contextmanager
def pinged(web: Site) -> Iterator[None]:
    """Ping from all addresses of the client meanwhile: all is answered, once."""
    client = web.lan.client
    pings = [
        client.start("ping", "-q", "-i", "0.02", "-I", source, VIP) for source in client.addresses
    ]
    yield
    for ping in pings:
        ping.stop(signal.SIGINT)
        assert " 0% packet loss" in ping.output, ping.output
        assert "duplicates" not in ping.output, ping.output


def _unread() -> int:
    """Return how many datagrams were let in here, and lost since a server did not read in time."""
    names, values = (
        line.split()
        for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()
        if line.startswith("Udp:")
    )
    return int(values[names.index("RcvbufErrors")])
