"""Servers that answer with SYN cookies, as all do whose queue is full, while a host drains.

A connection has no socket then before the client's ACK is here, or what comes in its place: the
host that took the bucket answers it all the same, and no other does. IPv4 and IPv6 side by side.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.lan.both_versions import drained, given_back, holders, site_of_both, to_all
from tests.lan.drops import dropping
from tests.lan.reuse import only, opened, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host
    from tests.lan.clusters import Site

BARE_ACK = "tcp flags & (syn | ack) == ack meta length < 80"


@pytest.fixture(scope="module", params=["tc", "xdp"])
def web(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site_of_both(xdp=request.param == "xdp") as made:
        for host in made.lan.hosts:
            host.run("sysctl", "-qw", "net.ipv4.tcp_syncookies=2")
        yield made


def cookies(host: Host) -> int:
    """Return how many SYN cookies came back so far, and were good."""
    return int(host.run("nstat", "-asz", "TcpExtSyncookiesRecv").stdout.split()[-2])


@pytest.mark.parametrize("lost", ["nothing", "ack"])
def test_new_connections_to_buckets_that_are_taken(web: Site, lost: str) -> None:
    lan, host = web.lan, web.lan.hosts[1]
    web.cluster.settled()
    before, new = to_all(web), to_all(web)
    with contextlib.ExitStack() as stack:
        older = [stack.enter_context(one) for one in opened(lan, before)]
        read(older)
        stack.callback(given_back, web, host)
        held = drained(web, host)
        assert web.cluster.status(host)["draining"], "its connections let it drain on"
        came = {one.name: cookies(one) for one in lan.hosts}
        with only(lan, holders(new, held)):
            with contextlib.ExitStack() as losing:
                if lost == "ack":
                    losing.enter_context(dropping(lan.client, "inet", "output", BARE_ACK))
                connections = [stack.enter_context(one) for one in opened(lan, new)]
            read(connections)
        read(older)
        read(connections)
        for one in lan.hosts:
            due = list(holders(new, held).values()).count(one.name)
            assert cookies(one) - came[one.name] == due
