"""What is allowed and unwise: said by `clusterip check`, and no reason to refuse a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from clusterip.core.address import Address
from clusterip.core.config.mac import default_mac, group, named, snooped, user
from clusterip.core.config.model import Config, Profile, Quorum, Stop, Vip, voters
from clusterip.core.config.values import HOUR, span
from clusterip.core.lease.timing import FAST, SECOND
from clusterip.core.model import Mac
from clusterip.core.rules.protocols import NAMES

MANY_FOR_FAST: Final = 16
LONG_DRAIN: Final = HOUR
_ICMP: Final = (1, 58)
"""Of IPv4 and of IPv6."""


class Advice(msgspec.Struct, frozen=True):
    """Something unwise, and what would be better."""

    message: str
    cure: str


def advice(config: Config) -> tuple[Advice, ...]:
    """Return all that is unwise in a configuration, the gravest first."""
    return (
        *_votes(config),
        *_shares(config),
        *(one for vip in config.vips for one in _mac(vip)),
        *(one for vip in config.vips for one in _services(vip)),
        *_timing(config),
        *_rest(config),
    )


def _votes(config: Config) -> Iterator[Advice]:
    count = len(voters(config))
    cure = "add a witness: a [[node]] with witness = true, on a third host"
    if config.quorum is Quorum.ALIVE and count > 2:
        yield Advice(
            f'quorum = "alive" is for two voters: of {count} a majority is needed all the same',
            "leave quorum out",
        )
    elif config.quorum is Quorum.ALIVE and count == 2:
        yield Advice(
            "two voters, and one may go on alone: when the network between them splits, both"
            " answer",
            cure,
        )
    elif count == 2:
        yield Advice("two voters are a majority only together: one death stops both", cure)
    elif not count % 2:
        yield Advice(
            f"{count} voters survive no more deaths than {count - 1} would",
            "add a witness: a [[node]] with witness = true, on a host of its own",
        )


def _shares(config: Config) -> Iterator[Advice]:
    servers = config.servers()
    weights = [node.weight for node in servers]
    if not any(weights):
        yield Advice("every weight is 0: nobody takes a bucket", "give the nodes a weight, 1..255")
        return
    if len(servers) == 1:
        yield Advice("only one node serves: nothing takes over when it dies", "add a [[node]]")
    least = min(weight for weight in weights if weight)
    share = config.buckets * least / sum(weights)
    if share < 4:
        yield Advice(
            f"the smallest share is {share:.1f} of {config.buckets} buckets, and shares differ by"
            " up to one",
            "raise buckets (at most 256), or bring the weights closer together",
        )


def _mac(vip: Vip) -> Iterator[Advice]:
    own = str(default_mac(vip.address)).lower()
    return of_mac(vip.address, vip.mac, f"leave mac out: {vip.address} then has {own}")


def of_mac(vip: Address, mac: Mac, own: str) -> Iterator[Advice]:
    """Yield what is unwise about the MAC of a VIP; `own` says how it gets the one meant for it."""
    other = user(mac)
    protocol = snooped(mac)
    if other:
        yield Advice(
            f"{mac} of {vip} is the MAC of {named(mac)} ({other}): its"
            " frames reach every host of the cluster, and ours whoever listens there",
            own,
        )
    if protocol:
        yield Advice(
            f"{mac} of {vip} is subject to {protocol} snooping: hosts join"
            f" {group(mac)}, and it depends on the switch whether that is enough",
            f"{own}, which every such switch floods; docs/operations.md tells switches apart",
        )


def _services(vip: Vip) -> Iterator[Advice]:
    own, other = _ICMP if vip.address.version == 4 else reversed(_ICMP)
    if other in {service.protocol for service in vip.services}:
        yield Advice(
            f"{vip.address} has a service for {NAMES[other]}, which does not go over"
            f" IPv{vip.address.version}: it covers nothing",
            f'use protocol = "{NAMES[own]}"',
        )


def _timing(config: Config) -> Iterator[Advice]:
    if config.profile is not Profile.FAST:
        return
    if config.quorum is Quorum.ALIVE:
        yield Advice(
            'profile = "fast" with quorum = "alive": a host that stalls for a fifth of a second'
            " counts as dead, and then nothing keeps both from answering",
            'use profile = "default", or three voters',
        )
    if len(config.nodes) > MANY_FOR_FAST:
        yield Advice(
            f'profile = "fast" with {len(config.nodes)} nodes: each hears'
            f" {len(config.nodes) * SECOND // FAST.interval} messages a second",
            f'use profile = "default" with more than {MANY_FOR_FAST} nodes',
        )


def _rest(config: Config) -> Iterator[Advice]:
    if config.drain_timeout > LONG_DRAIN:
        waits = " a stopping host waits that long," if config.stop is Stop.DRAIN else ""
        yield Advice(
            f"drain_timeout is {span(config.drain_timeout)}:{waits} one idle connection holds up a"
            " drain until then",
            'use an hour or less, such as "5m"',
        )
    lost = [node.name for node in config.nodes if any(one.is_loopback for one in node.addresses)]
    if lost:
        yield Advice(
            f"{', '.join(lost)}: a loopback address cannot be reached from another host",
            "write the address on the network that the hosts share",
        )
    if not config.checks:
        yield Advice(
            "no health check: a host whose server is down goes on answering",
            'add a [[check]], such as type = "tcp" with port = 80',
        )
