"""What the addresses of a host lack for the rules of its VIPs, and the cure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from clusterip.adapters.configured import Configured
from clusterip.core.address import Address, order
from clusterip.core.findings import Code, Finding


def alone(one: Configured, interface: str) -> Finding:
    """Return what is wrong with a VIP that no rule shares any more, and that is there still."""
    return Finding.of(
        Code.VIP_LEFT,
        f"{one.address} is on {interface} still",
        "this host answers everything for it now, whatever other hosts do",
        cure=f"ip address del {one} dev {interface}",
    )


def findings(
    shared: Collection[Address],
    vips: Collection[Address],
    there: Collection[Address],
    interface: str,
) -> Iterator[Finding]:
    """Yield what is lacking for those that rules share on `interface`.

    `vips` are shared on any interface; `there` are all addresses of the host. Of IPv6 it always
    has one of its own, that of the link.
    """
    for vip in sorted(set(shared) - set(there), key=order):
        yield Finding.of(
            Code.VIP_NOT_HERE,
            f"{vip} is no address of this host, which answers nothing for it",
            cure=f"ip address add {vip}/{vip.max_prefixlen} dev {interface} scope host, or give a"
            " rule of it again with --manage-address",
        )
    own = {one for one in there if one.version == 4 and not one.is_loopback}
    if own and own <= set(vips):
        yield Finding.of(
            Code.ONLY_VIPS,
            "this host has no IPv4 address but VIPs",
            "who reaches it by one of them, over ssh say, reaches any host of the cluster, and"
            " this one only in buckets held here",
            cure=f"ip address add ADDRESS/LENGTH dev {interface}, one that no other host has",
        )
