"""A client behind a router whose far side takes smaller packets.

switch br0 ---- eth0 router far0 ---- eth0 far client
                10.9.0.200            10.8.0.2, MTU given
                2001:db8:fe::1        2001:db9::2, where IPv6 is asked for
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
FAR6: Final = "2001:db9::2"
_NEAR6: Final = "2001:db8:fe::1"
_GATE6: Final = "2001:db9::1"


@contextlib.contextmanager
def far_client(lab: Lab, mtu: int, *, ipv6: bool = False) -> Iterator[Node]:
    """Put a router at the switch, and behind it a client; the hosts and it know the way.

    With `ipv6` that way too; the hosts are in 2001:db8::/32 then.
    """
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
        if ipv6:
            _ipv6(lab, router, client)
        yield client
    finally:
        for host in lab.hosts:
            host.run("ip", "route", "del", "10.8.0.0/24", check=False)
        for node in (client, router):
            node.stop_all()
            lab.switch.run("ip", "netns", "delete", node.full_name)


def _ipv6(lab: Lab, router: Node, client: Node) -> None:
    def write(setting: str, value: str) -> None:
        Path(f"/proc/sys/net/ipv6/conf/all/{setting}").write_text(value)

    for node in (router, client):
        node.call(lambda: write("disable_ipv6", "0"))
    router.call(lambda: write("forwarding", "1"))
    for node, address, link in (
        (router, f"{_NEAR6}/32", "eth0"),
        (router, f"{_GATE6}/64", "far0"),
        (client, f"{FAR6}/64", "eth0"),
    ):
        node.run("ip", "address", "add", address, "dev", link, "nodad")
    client.run("ip", "route", "add", "default", "via", _GATE6)
    for host in lab.hosts:
        host.run("ip", "route", "add", "2001:db9::/64", "via", _NEAR6)
