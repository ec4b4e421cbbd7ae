"""A client behind a router whose far side takes smaller packets.

switch br0 ---- eth0 router far0 ---- eth0 far client
                10.9.0.200            10.8.0.2, MTU given
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.topology import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Lab

FAR: Final = "10.8.0.2"
_NEAR: Final = "10.9.0.200"
_GATE: Final = "10.8.0.1"


@contextlib.contextmanager
def far_client(lab: Lab, mtu: int) -> Iterator[Node]:
    """Put a router at the switch, and behind it a client; the hosts and it know the way."""
    router = Node("router", lab.directory, "02:00:00:00:02:01", [_NEAR])
    client = Node("far", lab.directory, "02:00:00:00:02:02", [FAR])
    for node in (router, client):
        lab.switch.run("ip", "netns", "add", node.full_name)
    try:
        lab.switch.run(
            *("ip", "link", "add", "router", "type", "veth", "peer", "name", "eth0"),
            *("address", router.mac, "netns", router.full_name),
        )
        lab.switch.run("ip", "link", "set", "router", "master", "br0", "up")
        router.run(
            *("ip", "link", "add", "far0", "mtu", str(mtu), "type", "veth", "peer", "name", "eth0"),
            # The client knows nothing of it, or its segments would be small from the start.
            *("mtu", "1500", "address", client.mac, "netns", client.full_name),
        )
        router.run("ip", "address", "add", f"{_NEAR}/16", "dev", "eth0")
        router.run("ip", "address", "add", f"{_GATE}/24", "dev", "far0")
        client.run("ip", "address", "add", f"{FAR}/24", "dev", "eth0")
        for node, links in ((router, ("eth0", "far0")), (client, ("eth0",))):
            for link in links:
                node.run("ip", "link", "set", link, "up")
        client.run("ip", "route", "add", "default", "via", _GATE)
        router.call(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        for host in lab.hosts:
            host.run("ip", "route", "add", "10.8.0.0/24", "via", _NEAR)
        yield client
    finally:
        for host in lab.hosts:
            host.run("ip", "route", "del", "10.8.0.0/24", check=False)
        for node in (client, router):
            node.stop_all()
            lab.switch.run("ip", "netns", "delete", node.full_name)
