"""VIPs of rules that this host does not have as an address: it answers nothing for them."""

from __future__ import annotations

from collections.abc import Collection

from clusterip.cli import output
from clusterip.core.address import Address, order
from clusterip.runtime.host import Host


def message(vip: Address) -> str:
    """Return what is said of such a VIP."""
    return f"{vip} is no address of this host, which answers nothing for it"


def cure(vip: Address, interface: str) -> str:
    """Return what to do about it."""
    return (
        f"ip address add {vip}/{vip.max_prefixlen} dev {interface} scope host, or give a rule of it"
        " again with --manage-address"
    )


def warn(host: Host, vips: Collection[Address]) -> None:
    """Say on stderr which of these VIPs, that rules share, are no addresses here."""
    for state in host.chain().static().interfaces:
        for vip in sorted(host.absent(state) & set(vips), key=order):
            output.say("clusterip: warning:", output.WARNING, message(vip), cure(vip, state.name))
