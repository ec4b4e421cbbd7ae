"""All that the tool could leave on a host, read from where the kernel shows it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.topology import Host


@dataclass(frozen=True, slots=True)
class Traces:
    """Equal if, and only if, nothing has changed. Numbers of programs are left out."""

    qdiscs: str
    ingress: str
    egress: str
    xdp: bool
    macs: frozenset[str]
    addresses: frozenset[str]
    pins: frozenset[str]


def traces(host: Host) -> Traces:
    """Return what is there now."""
    (link,) = json.loads(host.run("ip", "-json", "link", "show", "dev", "eth0").stdout)
    return Traces(
        qdiscs=host.run("tc", "qdisc", "show", "dev", "eth0").stdout,
        ingress=_filters(host, "ingress"),
        egress=_filters(host, "egress"),
        xdp="xdp" in link,
        macs=frozenset(mac_filter(host)),
        addresses=frozenset(addresses(host)),
        pins=frozenset(str(pin.relative_to(host.pins)) for pin in host.pins.rglob("*")),
    )


def _filters(host: Host, side: str) -> str:
    text = host.run("tc", "filter", "show", "dev", "eth0", side).stdout
    return re.sub(r"\[\d+\]|\bid \d+", "", text)


def addresses(host: Host) -> list[str]:
    """Return the addresses of eth0 with their prefix lengths."""
    (link,) = json.loads(host.run("ip", "-json", "address", "show", "dev", "eth0").stdout)
    return [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]


def mac_filter(host: Host) -> list[str]:
    """Return the multicast addresses that were added to the filter of eth0, as hex digits."""
    text = host.call(Path("/proc/thread-self/net/dev_mcast").read_text)
    rows = (line.split() for line in text.splitlines())
    # Columns: ifindex, name, users, added by hand or not, address.
    return [row[4] for row in rows if row[1] == "eth0" and row[3] != "0"]
