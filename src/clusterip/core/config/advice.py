"""What is allowed and unwise: said by `clusterip check`, and no reason to refuse a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clusterip.core.address import Address
from clusterip.core.config.mac import default_mac, igmp_group, named, snooped, user
from clusterip.core.config.model import Config, Profile, Quorum, Stop, Vip, voters
from clusterip.core.config.values import HOUR, span
from clusterip.core.findings import Code, Finding
from clusterip.core.lease.timing import FAST
from clusterip.core.packets.model import Mac
from clusterip.core.rules.protocols import NAMES
from clusterip.core.units import SECOND

MANY_FOR_FAST: Final = 16
LONG_DRAIN: Final = HOUR
_ICMP: Final = (1, 58)
"""Of IPv4 and of IPv6."""


def advised(config: Config) -> tuple[Finding, ...]:
    """Return all that is unwise in a configuration, the gravest first."""
    return (
        *_votes(config),
        *_shares(config),
        *(one for vip in config.vips for one in _mac(vip)),
        *(one for vip in config.vips for one in _services(vip)),
        *_timing(config),
        *_rest(config),
    )


def _votes(config: Config) -> Iterator[Finding]:
    count = len(voters(config))
    cure = "add a witness: a [[node]] with witness = true, on a third host"
    if config.quorum is Quorum.ALIVE and count > 2:
        yield Finding.of(
            Code.ALIVE_OF_MANY,
            'quorum = "alive" is for two voters',
            f"of {count} a majority is needed all the same",
            cure="leave quorum out",
        )
    elif config.quorum is Quorum.ALIVE and count == 2:
        yield Finding.of(
            Code.BOTH_ALONE,
            "two voters, and one may go on alone",
            "when the network between them splits, both answer",
            cure=cure,
        )
    elif count == 2:
        yield Finding.of(
            Code.NO_MAJORITY_OF_TWO,
            "two voters are a majority only together",
            "one death stops both",
            cure=cure,
        )
    elif not count % 2:
        yield Finding.of(
            Code.EVEN_VOTERS,
            f"{count} voters survive no more deaths than {count - 1} would",
            cure="add a witness: a [[node]] with witness = true, on a host of its own",
        )


def _shares(config: Config) -> Iterator[Finding]:
    servers = config.servers()
    weights = [node.weight for node in servers]
    if not any(weights):
        yield Finding.of(
            Code.NO_WEIGHT,
            "every weight is 0",
            "nobody takes a bucket",
            cure="give the nodes a weight, 1..255",
        )
        return
    if len(servers) == 1:
        yield Finding.of(
            Code.ONE_SERVER,
            "only one node serves",
            "nothing takes over when it dies",
            cure="add a [[node]]",
        )
    least = min(weight for weight in weights if weight)
    share = config.buckets * least / sum(weights)
    if share < 4:
        yield Finding.of(
            Code.SMALL_SHARE,
            f"the smallest share is {share:.1f} of {config.buckets} buckets, and shares differ by"
            " up to one",
            cure="raise buckets (at most 256), or bring the weights closer together",
        )


def _mac(vip: Vip) -> Iterator[Finding]:
    own = str(default_mac(vip.address))
    return of_mac(vip.address, vip.mac, f"leave mac out: {vip.address} then has {own}")


def of_mac(vip: Address, mac: Mac, own: str) -> Iterator[Finding]:
    """Yield what is unwise about the MAC of a VIP; `own` says how it gets the one meant for it."""
    other = user(mac)
    protocol = snooped(mac)
    if other:
        yield Finding.of(
            Code.MAC_OF_OTHERS,
            f"{mac} of {vip} is the MAC of {named(mac)} ({other})",
            "its frames reach every host of the cluster, and ours whoever listens there",
            cure=own,
        )
    if protocol:
        yield Finding.of(
            Code.MAC_SNOOPED,
            f"{mac} of {vip} is subject to {protocol} snooping",
            f"hosts join {igmp_group(mac)}, and it depends on the switch whether that is enough",
            cure=f"{own}, which every such switch floods",
        )


def _services(vip: Vip) -> Iterator[Finding]:
    own, other = _ICMP if vip.address.version == 4 else reversed(_ICMP)
    if other in {service.protocol for service in vip.services}:
        yield Finding.of(
            Code.EMPTY_SERVICE,
            f"{vip.address} has a service for {NAMES[other]}, which does not go over"
            f" IPv{vip.address.version}",
            "it covers nothing",
            cure=f'use protocol = "{NAMES[own]}"',
        )


def _timing(config: Config) -> Iterator[Finding]:
    if config.profile is not Profile.FAST:
        return
    if config.quorum is Quorum.ALIVE:
        yield Finding.of(
            Code.FAST_ALONE,
            'profile = "fast" with quorum = "alive"',
            "a host that stalls for a fifth of a second counts as dead, and then nothing keeps both"
            " from answering",
            cure='use profile = "default", or three voters',
        )
    if len(config.nodes) > MANY_FOR_FAST:
        yield Finding.of(
            Code.FAST_OF_MANY,
            f'profile = "fast" with {len(config.nodes)} nodes',
            f"each hears {len(config.nodes) * SECOND // FAST.interval} messages a second",
            cure=f'use profile = "default" with more than {MANY_FOR_FAST} nodes',
        )


def _rest(config: Config) -> Iterator[Finding]:
    if config.drain_timeout > LONG_DRAIN:
        waits = "a stopping host waits that long, " if config.stop is Stop.DRAIN else ""
        yield Finding.of(
            Code.LONG_DRAIN,
            f"drain_timeout is {span(config.drain_timeout)}",
            f"{waits}one idle connection holds up a drain until then",
            cure='use an hour or less, such as "5m"',
        )
    lost = [node.name for node in config.nodes if any(one.is_loopback for one in node.addresses)]
    if lost:
        yield Finding.of(
            Code.LOOPBACK_ADDRESS,
            f"{', '.join(lost)}: a loopback address cannot be reached from another host",
            cure="write the address on the network that the hosts share",
        )
    if not config.checks:
        yield Finding.of(
            Code.NO_CHECK,
            "no health check",
            "a host whose server is down goes on answering",
            cure='add a [[check]], such as type = "tcp" with port = 80',
        )
