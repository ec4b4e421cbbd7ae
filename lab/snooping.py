"""Switches that snoop: what the lab's switch is made, for as long as a test needs it.

`by_mac` is a switch of silicon: it learns from IGMP and MLD reports which port wants which MAC,
and sends frames to a group's MAC to these ports only. `by_address` is the Linux bridge, between
the virtual machines of a hypervisor: it learns the same, and looks frames up by their IP
destination, which is not a group's when a VIP is asked.
"""

from __future__ import annotations

import contextlib
import json
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.namespace import Namespace
    from lab.topology import Lab

Learnt = dict[str, set[str]]
"""MAC, as `01:00:5e:7f:00:20`, to the names of the ports behind which it is wanted."""

_QUERIES: Final = (
    *("mcast_snooping", "1"),
    # Reports of these versions do not stop those of other hosts for the same group.
    *("mcast_igmp_version", "3", "mcast_mld_version", "2"),
    # In hundredths of a second; by default it asks every 125 s, and forgets after 260 s.
    *("mcast_query_interval", "100", "mcast_startup_query_interval", "25"),
    *("mcast_query_response_interval", "20", "mcast_membership_interval", "300"),
    *("mcast_last_member_interval", "10"),
)
_FILTER: Final = """
table bridge snooping {
    set joined { type ifname . ether_addr; }
    set unheard { type ifname; }
    chain hear {
        type filter hook prerouting priority 0;
        iifname @unheard ip protocol igmp drop
        iifname @unheard icmpv6 type { mld-listener-report, mld2-listener-report } drop
    }
    chain send {
        type filter hook forward priority 0;
        ether daddr & ff:ff:ff:ff:ff:00 == 01:00:5e:00:00:00 accept
        ether daddr 33:33:00:00:00:01 accept
        oifname . ether daddr @joined accept
        ether daddr & ff:ff:ff:80:00:00 == 01:00:5e:00:00:00 drop
        ether daddr & ff:ff:00:00:00:00 == 33:33:00:00:00:00 drop
    }
}
"""


class Snooper:
    """The lab's switch, which asks who wants what, and learns."""

    def __init__(self, lab: Lab) -> None:
        self._switch = lab.switch

    def ports(self, group: str) -> dict[str, float]:
        """Return the ports that joined a group, with the seconds until that is forgotten."""
        told = json.loads(self._switch.run("bridge", "-json", "-s", "mdb").stdout)
        entries = (entry for table in told for entry in table["mdb"])
        return {entry["port"]: float(entry["timer"]) for entry in entries if entry["grp"] == group}

    def learn(self) -> Learnt:
        """Send frames from now on to the ports that joined by now; returns which."""
        told = json.loads(self._switch.run("bridge", "-json", "mdb").stdout)
        learnt: Learnt = {}
        for entry in (entry for table in told for entry in table["mdb"]):
            learnt.setdefault(_mac(entry["grp"]), set()).add(entry["port"])
        pairs = [f'"{port}" . {mac}' for mac, ports in learnt.items() for port in ports]
        more = [f"add element bridge snooping joined {{ {', '.join(pairs)} }}"] if pairs else []
        self._switch.run("nft", "; ".join(["flush set bridge snooping joined", *more]))
        return learnt

    def ask(self, *, often: bool) -> None:
        """Ask from now on who wants what, or ask nothing more and forget nothing either."""
        querier, forget = ("1", "300") if often else ("0", "26000")
        words = ("mcast_membership_interval", forget, "mcast_querier", querier)
        self._switch.run("ip", "link", "set", "br0", "type", "bridge", *words)

    def hear(self, port: str, *, reports: bool) -> None:
        """Take note of the reports of a port from now on, or pay no attention."""
        verb = "delete" if reports else "add"
        self._switch.run("nft", f'{verb} element bridge snooping unheard {{ "{port}" }}')


@contextlib.contextmanager
def by_mac(lab: Lab) -> Iterator[Snooper]:
    """Have the switch look frames up by their MAC, in what `learn` has learnt."""
    with by_address(lab) as snooper:
        for node in lab.nodes:
            # The bridge brings every port everything, and the filter decides.
            set_router(lab, node.name, always=True)
        lab.switch.run("nft", _FILTER)
        try:
            yield snooper
        finally:
            lab.switch.run("nft", "delete table bridge snooping")


@contextlib.contextmanager
def by_address(lab: Lab) -> Iterator[Snooper]:
    """Have the switch snoop as the Linux bridge does, and ask the questions itself."""
    lab.switch.call(lambda: _ipv6(on=True))
    snoop(lab.switch, "br0")
    try:
        yield Snooper(lab)
    finally:
        off = ("mcast_snooping", "0", "mcast_querier", "0")
        lab.switch.run("ip", "link", "set", "br0", "type", "bridge", *off)
        lab.switch.call(lambda: _ipv6(on=False))
        for node in lab.nodes:
            set_router(lab, node.name, always=False)


def snoop(namespace: Namespace, bridge: str) -> None:
    """Have a Linux bridge snoop, and ask the questions itself."""
    command = ("ip", "link", "set", bridge, "type", "bridge")
    namespace.run(*command, *_QUERIES)
    # It goes by the answers once the time for the first ones, as set above, has passed.
    namespace.run(*command, "mcast_querier", "1")


def set_router(lab: Lab, port: str, *, always: bool) -> None:
    """Say that a multicast router is behind a port, or leave it to the bridge to find out."""
    mode = "2" if always else "1"
    lab.switch.run("bridge", "link", "set", "dev", port, "mcast_router", mode)


def _ipv6(*, on: bool) -> None:
    """Give the bridge the link-local address that MLD queries need."""
    folder = Path("/proc/sys/net/ipv6/conf/br0")
    if folder.exists():
        (folder / "accept_dad").write_text("0")
        (folder / "disable_ipv6").write_text("0" if on else "1")


def _mac(group: str) -> str:
    """Return the MAC of an IP group (RFC 1112, 6.4; RFC 2464, 7)."""
    address = ip_address(group)
    packed = address.packed
    if address.version == 4:
        raw = bytes([1, 0, 0x5E, packed[1] & 0x7F, packed[2], packed[3]])
    else:
        raw = b"\x33\x33" + packed[-4:]
    return raw.hex(":")
