"""What hosts must agree on, as one number that their messages carry.

The number is `core.messages.message.digest_of_config` of the text below: ASCII, each line ended by
a line feed, numbers in decimal, what is a set in ascending order. Comments, the order in the file,
and whether a default was written out do not show in it.

    clusterip-hash 1
    profile WORD
    buckets TOTAL
    hash_init NUMBER
    source_prefix6 BITS                 only if a VIP is an IPv6 address
    vip ADDRESS MAC                     for each VIP, by address, IPv4 first; MAC as 12 hex digits
    service PROTOCOL FIRST LAST MODE    for each of its services, the most specific first; in place
                                        of MODE "single BUCKET" or "drop" for such a service

The profile is among them because a voter waits by its own profile for a lease that lasts by the
holder's: of two profiles mixed, the shorter wait would end before the longer lease.
TOTAL, BUCKET, FIRST and LAST (ports), PROTOCOL (0 for all) are numbers; MODE is a word of
`--hashmode`.
The lines of [cluster] are its keys that take UNEQUAL, in the order of their declaration. What a
later version can say in addition gets lines of its own, written only where it is used (`counts` of
its key), so that hosts of both versions agree on a file that does not use it.
"""

from __future__ import annotations

from collections.abc import Iterator

from clusterip.core.config.declared import Cluster
from clusterip.core.config.declaring import UNEQUAL
from clusterip.core.config.model import Config, Service, Vip, voters
from clusterip.core.messages import message
from clusterip.core.packets.model import ServiceAction


def hash_text(config: Config) -> str:
    """Return the canonical text of what must be equal on hosts that serve together."""
    return "".join(f"{line}\n" for line in _lines(config))


def hash_digest(config: Config) -> int:
    """Return its digest, 1..2**64-1."""
    return message.digest_of_config(hash_text(config))


def voter_ids(config: Config) -> frozenset[int]:
    """Return the node ids of the voters, as messages carry them."""
    return frozenset(map(message.digest_of_name, voters(config)))


def voters_digest(config: Config) -> int:
    """Return the digest of the set of voters, 1..2**64-1, as messages carry it."""
    return message.digest_of_voters(voter_ids(config))


def _lines(config: Config) -> Iterator[str]:
    yield "clusterip-hash 1"
    for key in Cluster.keys:
        text = key.told(config) if key.takes is UNEQUAL and key.counts(config) else ""
        if text:
            yield f"{key.name} {text}"
    for vip in config.vips:
        yield f"vip {vip.address} {vip.mac.digits}"
        yield from service_lines(vip)


def service_lines(vip: Vip) -> Iterator[str]:
    """Yield a line for each service of a VIP, the most specific first."""
    for service in vip.services:
        first, last = service.ports
        yield f"service {service.protocol} {first} {last} {_treatment(service)}"


def _treatment(service: Service) -> str:
    if service.action is ServiceAction.BALANCE:
        return service.mode.value
    return f"{service.action.value} {service.bucket or ''}".rstrip()
