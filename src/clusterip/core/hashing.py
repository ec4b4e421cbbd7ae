"""From a packet's addresses and ports to its bucket, bit for bit as ipt_CLUSTERIP did.

The hash is Bob Jenkins' lookup3 as the kernel has had it since 4.1
(include/linux/jhash.h: jhash_1word, jhash_2words, jhash_3words), scaled to the
number of buckets by multiplication (reciprocal_scale, include/linux/kernel.h).
`bpf/hash.h` is the same in C and holds the byte orders.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from clusterip.core import limits

JHASH_INITVAL: Final = 0xDEADBEEF
_MASK: Final = 0xFFFFFFFF


class HashMode(Enum):
    """Which fields of the packet the hash reads; the values are the words of `--hashmode`."""

    SOURCEIP = "sourceip"
    SOURCEIP_SOURCEPORT = "sourceip-sourceport"
    SOURCEIP_SOURCEPORT_DESTPORT = "sourceip-sourceport-destport"

    @property
    def words(self) -> int:
        """How many 32-bit words the hash reads: 1, 2 or 3."""
        return 1 + self.value.count("-")


def wire_port(port: int) -> int:
    """Return `port` (0..65535, host order) as its two bytes on the wire read little-endian."""
    return (port & 0xFF) << 8 | port >> 8


def _rol(word: int, shift: int) -> int:
    return (word << shift | word >> (32 - shift)) & _MASK


def _final(a: int, b: int, c: int) -> int:
    """Mix three words into the hash: __jhash_final of include/linux/jhash.h."""
    c = ((c ^ b) - _rol(b, 14)) & _MASK
    a = ((a ^ c) - _rol(c, 11)) & _MASK
    b = ((b ^ a) - _rol(a, 25)) & _MASK
    c = ((c ^ b) - _rol(b, 16)) & _MASK
    a = ((a ^ c) - _rol(c, 4)) & _MASK
    b = ((b ^ a) - _rol(a, 14)) & _MASK
    return ((c ^ b) - _rol(b, 24)) & _MASK


def jhash(words: tuple[int, ...], hash_init: int) -> int:
    """Hash one to three 32-bit words, each 0..4294967295, with an initial value in that range."""
    initial = (hash_init + JHASH_INITVAL + (len(words) << 2)) & _MASK
    a, b, c = ((word + initial) & _MASK for word in (*words, 0, 0)[:3])
    return _final(a, b, c)


def bucket_of(
    mode: HashMode,
    total: int,
    hash_init: int,
    source: int,
    source_port: int = 0,
    destination_port: int = 0,
) -> int:
    """Return the bucket, 1..`total`, of a packet whose fields are already checked.

    `source` is the IPv4 address as a number in host order; ports are numbers in host order.
    """
    words = (source, wire_port(source_port), wire_port(destination_port))[: mode.words]
    return (jhash(words, hash_init) * total >> 32) + 1


def bucket(
    hashmode: str,
    total_nodes: int,
    hash_init: int,
    source: str,
    source_port: int = 0,
    destination_port: int = 0,
) -> int:
    """Return the bucket (CLUSTERIP's "node number"), 1..`total_nodes`, that a packet falls to.

    `hashmode` is a word of `--hashmode`, `total_nodes` 1..256, `hash_init` 0..4294967295,
    `source` a dotted IPv4 address, the ports 0..65535 in host order. Protocols without ports
    (ICMP echo too) have ports 0. Raises ValueError for anything else, naming it.
    """
    mode = check_parameters(hashmode, total_nodes, hash_init)
    try:
        address = int(IPv4Address(source))
    except AddressValueError as error:
        raise ValueError(f"source {source!r} is not an IPv4 address") from error
    for name, port in (("source_port", source_port), ("destination_port", destination_port)):
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"{name} {port} is not in 0..65535")
    return bucket_of(mode, total_nodes, hash_init, address, source_port, destination_port)


def check_parameters(hashmode: str, total_nodes: int, hash_init: int) -> HashMode:
    """Return the hash mode if all three are in range; else raise ValueError naming the fault."""
    try:
        mode = HashMode(hashmode)
    except ValueError as error:
        known = ", ".join(mode.value for mode in HashMode)
        raise ValueError(f"unknown hashmode {hashmode!r}: one of {known}") from error
    if not 1 <= total_nodes <= limits.BUCKETS:
        raise ValueError(f"total_nodes {total_nodes} is not in 1..{limits.BUCKETS}")
    if not 0 <= hash_init <= _MASK:
        raise ValueError(f"hash_init {hash_init} is not in 0..{_MASK}")
    return mode
