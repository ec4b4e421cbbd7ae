"""A client that uses its ports again while connections from before drain: one host answers.

The web server closes first, so its host keeps sockets in TIME_WAIT for the ends of connections
that another host has by now. States are set by hand, as daemons set them in a planned move, each
order and loss in turn; judged at the client, packet by packet.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.adapters.pinned_maps import PinnedMaps
from lab import traffic
from lab.servers import HTTP_PORT
from lab.topology import VIP
from lab.wait import eventually
from tests.lan.cluster import Sharing, forget_neighbours
from tests.lan.reuse import close, only, opened, read_to_the_end, sockets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.topology import Host, Lab
    from lab.traffic import Flow

FLOWS = 24
NONE, OWNED = BucketState.NONE, BucketState.OWNED
TAKING, DRAINING = BucketState.TAKING, BucketState.DRAINING


@pytest.fixture(params=["off", "require"])
def hosts(lan: Lab, request: pytest.FixtureRequest) -> tuple[Host, Host]:
    """Two of three hosts that share the VIP, all of it one bucket; without XDP and with it."""
    sharing = Sharing(total=1)

    def join(host: Host) -> None:
        host.clusterip("iptables", "--xdp", request.param, "-A", *sharing.new(0))
        host.add_address(VIP)

    lan.on_hosts(join)
    forget_neighbours(lan.clients)
    first, second, _ = lan.hosts
    become(first, OWNED)
    return first, second


def become(host: Host, state: BucketState) -> None:
    """Set the state of the bucket."""
    index = host.call(lambda: socket.if_nametoindex("eth0"))
    with PinnedMaps(host.pins).open(index) as maps:
        maps.set_bucket(0, 1, state)


def move(giver: Host, taker: Host) -> None:
    """Move the bucket as planned."""
    become(giver, DRAINING)
    become(taker, TAKING)


def at(host: Host, flows: Sequence[Flow]) -> dict[Flow, str]:
    """Say that this host has all of these."""
    return dict.fromkeys(flows, host.name)


def used(lan: Lab, host: Host, flows: Sequence[Flow]) -> None:
    """Have a page by each flow, whose server closes first: that host answers, and nobody else."""
    with only(lan, at(host, flows)):
        connections = opened(lan, flows)
        read_to_the_end(connections)
        close(lan, connections, flows)
    assert sockets(host, "time-wait", flows) == len(flows)


def test_ports_used_again_while_their_last_host_drains(lan: Lab, hosts: tuple[Host, Host]) -> None:
    first, second = hosts
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, FLOWS)
    used(lan, first, flows)
    move(first, second)
    used(lan, second, flows)
    used(lan, second, flows)
    # And back at once: both hosts have sockets in TIME_WAIT for all of them.
    move(second, first)
    used(lan, first, flows)


@pytest.mark.parametrize("lost", ["syn", "syn and ack"])
def test_what_opens_the_connection_is_lost_on_the_way_to_the_old_host(
    lan: Lab, hosts: tuple[Host, Host], lost: str
) -> None:
    first, second = hosts
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, FLOWS)
    used(lan, first, flows)
    move(first, second)
    which = "tcp flags syn" if lost == "syn" else "tcp flags & (fin | psh) == 0"
    lan.switch.run(
        "nft",
        "add table bridge loses;"
        "add chain bridge loses it { type filter hook forward priority 0; };"
        f"add rule bridge loses it oifname {first.name} ip daddr {VIP} {which} counter drop",
    )
    try:
        used(lan, second, flows)
        told = lan.switch.run("nft", "list", "table", "bridge", "loses").stdout
        assert int(told.split("packets ")[1].split()[0]) >= FLOWS
    finally:
        lan.switch.run("nft", "delete table bridge loses")


def test_who_closed_first_still_hears_the_fin(lan: Lab, hosts: tuple[Host, Host]) -> None:
    """Of connections that were half-closed before the move, and of those that are after it."""
    first, second = hosts
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, FLOWS)
    before, after = flows[: FLOWS // 2], flows[FLOWS // 2 :]
    halves, wholes = opened(lan, before), opened(lan, after)
    read_to_the_end(halves)
    eventually(lambda: sockets(first, "fin-wait-2", before) == len(before))
    move(first, second)
    with only(lan, at(first, before)):
        close(lan, halves, before)
    with only(lan, at(first, after)):
        read_to_the_end(wholes)
        close(lan, wholes, after)
    used(lan, second, flows)
    # The taker closes first, too, while it is taking.
    again = opened(lan, flows)
    with only(lan, at(second, flows)):
        read_to_the_end(again)
        close(lan, again, flows)


def test_a_host_that_takes_has_older_sockets(lan: Lab, hosts: tuple[Host, Host]) -> None:
    """It saw nothing of how their ends came to another host: it had no part in the bucket then."""
    first, second = hosts
    flows = traffic.flows(lan.client, VIP, HTTP_PORT, FLOWS)
    used(lan, first, flows)
    become(first, NONE)
    become(second, OWNED)
    live = opened(lan, flows)
    assert sockets(first, "time-wait", flows) == FLOWS
    move(second, first)
    with only(lan, at(second, flows)):
        read_to_the_end(live)
        close(lan, live, flows)
