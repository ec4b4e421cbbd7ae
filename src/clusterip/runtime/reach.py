"""Whether the addresses of the file and those of this host fit: else the nodes do not hear it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_interface

from clusterip.adapters.links import Links
from clusterip.adapters.sources import NoSourceError, Sources
from clusterip.core.address import order
from clusterip.core.config.model import Config, Node
from clusterip.core.findings import Code, Finding
from clusterip.core.words import few
from clusterip.runtime.faults import NO_SOURCE


def findings(config: Config, me: Node, links: Links) -> Iterator[Finding]:
    """Yield what is wrong with the addresses of this host, which is node `me`, and its routes."""
    yield from of_addresses(config, me, links)
    yield from _sources(config, me)


def of_addresses(config: Config, me: Node, links: Links) -> Iterator[Finding]:
    """Yield what is wrong with the addresses of this host.

    A witness may be behind a router that translates its address.
    """
    vips = {vip.address for vip in config.vips}
    own = {one.address for one in links.configured()} - vips
    theirs = (one for one in own if one.version == 4 and not one.is_loopback)
    known = few(map(str, sorted(theirs, key=str)))
    for address in me.addresses:
        if address not in own:
            found = Finding.of(
                Code.ADDRESS_NOT_HERE,
                f"{address}, the address of {me.name} in the file, is none of this host",
                "hosts that have the same file send there, and it does not hear them",
                cure=f"give it one of {known or 'its own, when it has any'}; or say which node this"
                " host is with --node",
            )
            yield found.as_warning() if me.witness else found
    for node in _others(config, me):
        for address in node.addresses:
            if address in own:
                yield Finding.of(
                    Code.ADDRESS_OF_ANOTHER,
                    f"{address}, the address of {node.name} in the file, is this host's, which is"
                    f" {me.name}",
                    cure="give each node its own address; or say which node this host is with"
                    " --node",
                )


def of_vips(config: Config, interface: int, name: str, links: Links) -> Iterator[Finding]:
    """Yield which VIPs are in no network of the interface of that index; none where it has none."""
    vips = {vip.address for vip in config.vips}
    networks = {
        ip_interface((one.address, one.prefix)).network
        for one in links.configured()
        if one.index == interface
        and one.peer is None
        and one.address not in vips
        and one.prefix < one.address.max_prefixlen
        and not one.address.is_link_local
    }
    for vip in sorted(vips, key=order):
        alike = [one for one in networks if one.version == vip.version]
        if alike and not any(vip in one for one in alike):
            yield Finding.of(
                Code.VIP_ELSEWHERE,
                f"VIP {vip} is in no network of {name} ({', '.join(sorted(map(str, alike)))})",
                cure="mend it, where it is mistyped; where a router has a route for it, leave it",
            )


def _others(config: Config, me: Node) -> list[Node]:
    return [node for node in config.nodes if node is not me]


def _sources(config: Config, me: Node) -> Iterator[Finding]:
    """Yield where no message can be sent to."""
    others = _others(config, me)
    sources = Sources([str(vip.address) for vip in config.vips])
    for node in others:
        for address in map(str, node.addresses):
            try:
                sources.towards(address)
            except NoSourceError:
                yield NO_SOURCE.as_warning()
            except OSError as error:
                yield Finding.of(
                    Code.UNREACHABLE,
                    f"nothing can be sent to {node.name} at {address}",
                    os.strerror(error.errno or 0),
                    cure=f"see `ip route get {address}`",
                )
    if me.interface and not all(node.addresses for node in others):
        try:
            sources.on_link(socket.if_nametoindex(me.interface))
        except NoSourceError:
            yield NO_SOURCE.as_warning()
        except OSError:
            return  # there is no such interface, which is said
