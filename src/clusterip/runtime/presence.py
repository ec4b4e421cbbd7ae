"""VIPs that are on this host without the daemon: put there by the files of the system, say.

Where one is on an interface already it stays when the daemon stops, with nothing that filters,
and draws all clients to this host. So a daemon does not start, and one that runs takes it off.
For rules by hand the administrator's own address is as it should be: this is not for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from ipaddress import ip_interface
from typing import Final

from clusterip.adapters import origins
from clusterip.adapters.configured import Configured
from clusterip.adapters.links import Links, as_ours
from clusterip.adapters.origins import Origin
from clusterip.core.address import Address
from clusterip.core.errors import RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.packets.state import InterfaceState

Ours = Mapping[int, Collection[Address]]
"""The addresses that we added, by ifindex: alone, without a network."""
Search = Callable[[Collection[Address]], Mapping[Address, list[Origin]]]
_NOWHERE: Final[list[Origin]] = []


def added(states: Iterable[InterfaceState]) -> Ours:
    """Return what we added, daemons that were killed included."""
    return {one.index: one.taken.addresses for one in states}


def strangers(
    links: Links, vips: Collection[Address], ours: Ours | None, interface: str = ""
) -> tuple[Configured, ...]:
    """Return the VIPs on any interface that we did not add; another VRF than its is elsewhere.

    Where `ours` is not known, None, what is added as we do it counts as ours.
    """
    there = {link.index: link for link in links.all()}
    vrf = next((link.vrf for link in there.values() if link.name == interface), "")

    def is_ours(one: Configured) -> bool:
        return as_ours(one) and (ours is None or one.address in ours.get(one.index, ()))

    return tuple(
        one
        for one in links.configured()
        if one.address in vips
        and one.index in there
        and there[one.index].vrf == vrf
        and not is_ours(one)
    )


def findings(
    links: Links,
    vips: Collection[Address],
    ours: Ours | None,
    interface: str = "",
    search: Search = origins.find,
) -> tuple[Finding, ...]:
    """Return what is wrong: VIPs that are there already, and files that will put them there."""
    where = search(vips)
    names = {link.index: link.name for link in links.all()}
    found = strangers(links, vips, ours, interface)
    present = tuple(
        Finding.of(
            Code.VIP_ALREADY_THERE,
            f"{one.address} is on {names[one.index]} already, as {one}",
            _cause(one, where),
            cure=_cure(one, names[one.index], where),
        )
        for one in found
    )
    useless = tuple(no_hosts(links, vips, interface))
    later = tuple(
        Finding.of(
            Code.VIP_IN_FILES,
            f"{origin} has {vip}",
            "if it puts it on an interface at boot, the daemon does not start",
            cure="take it out there: the daemon adds it, and removes it",
        )
        for vip, places in where.items()
        if vip not in {one.address for one in found}
        for origin in places
    )
    return (*present, *useless, *later)


def no_hosts(links: Links, vips: Collection[Address], interface: str) -> Iterator[Finding]:
    """Yield which VIPs are no host's on a network of this host: those that are the network's."""
    names = {link.index: link.name for link in links.all()}
    for vip, what, one in _of_networks(links, vips, interface):
        yield Finding.of(
            Code.VIP_OF_NETWORK,
            f"{vip} is {what} of {one} on {names[one.index]}",
            "no host can answer at it",
            cure="share another address of the network, or mend the prefix of the interface",
        )


def _of_networks(
    links: Links, vips: Collection[Address], interface: str
) -> Iterator[tuple[Address, str, Configured]]:
    """Yield each VIP that is no host's on a network of this host, and what it is there.

    Networks of two addresses or one (RFC 3021, RFC 6164) have hosts at all of them. Those of
    another VRF than that of `interface` are elsewhere.
    """
    vrfs = {link.index: link.vrf for link in links.all()}
    vrf = next((link.vrf for link in links.all() if link.name == interface), "")
    for one in links.configured():
        network = ip_interface(f"{one.peer or one.address}/{one.prefix}").network
        if network.num_addresses <= 2 or vrfs.get(one.index) != vrf:
            continue
        if network.network_address in vips:
            yield network.network_address, "the network's own address", one
        if network.version == 4 and network.broadcast_address in vips:
            yield network.broadcast_address, "the broadcast address", one


def refuse(found: Iterable[Finding]) -> None:
    """Raise RefusedError if one of them is a fault."""
    faults = [one for one in found if one.is_fault]
    if faults:
        raise RefusedError("; ".join(one.sentence for one in faults), faults[0].cure)


def described(links: Links, some: Collection[Configured], search: Search = origins.find) -> str:
    """Return a sentence on what was taken off, and who likely put it there."""
    where = search({one.address for one in some})
    names = {link.index: link.name for link in links.all()}
    return "; ".join(
        f"{one} on {names.get(one.index, one.index)}: {_cause(one, where)}" for one in some
    )


def _cause(one: Configured, where: Mapping[Address, list[Origin]]) -> str:
    places = where.get(one.address, _NOWHERE)
    if places:
        return f"{', '.join(map(str, places))} likely put it there"
    if one.dynamic:
        return "it has a lifetime, so a DHCP server or a router gave it"
    return "none of the usual files has it, so a command or a cluster manager put it there"


def _cure(one: Configured, name: str, where: Mapping[Address, list[Origin]]) -> str:
    places = where.get(one.address, _NOWHERE)
    there = f"take it out of {places[0].file}, then: " if places else ""
    keep = f"sysctl -qw net.ipv4.conf.{name}.promote_secondaries=1; "
    promote = keep if one.address.version == 4 and one.prefix < 32 else ""
    return f"{there}{promote}ip address del {one} dev {name} (the daemon adds it by itself)"
