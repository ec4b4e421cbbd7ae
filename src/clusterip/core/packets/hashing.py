"""From a packet's addresses and ports to its bucket, bit for bit as ipt_CLUSTERIP did.

The hash is Bob Jenkins' lookup3 as the kernel has had it since 4.1
(include/linux/jhash.h: jhash_1word, jhash_2words, jhash_3words), scaled to the
number of buckets by multiplication (reciprocal_scale, include/linux/kernel.h).
`bpf/hash.h` is the same in C and holds the byte orders. IPv6, which the old target did not have,
is hashed likewise, the source address being four words (jhash2 of the same file).

Two further modes choose the node that others choose, so that a site can move from them host by
host: those of `iptables -m cluster` and of nft's `jhash ip saddr`.
"""

from __future__ import annotations

import struct
from enum import Enum
from ipaddress import IPv6Address
from typing import Final

from clusterip.core import limits
from clusterip.core.address import Address, address_of

JHASH_INITVAL: Final = 0xDEADBEEF
SOURCE_PREFIX6: Final = 64
"""How many bits of an IPv6 source are hashed by default: a host changes the others at will."""
_MASK: Final = 0xFFFFFFFF
_BITS6: Final = 128  # of an IPv6 address


class HashMode(Enum):
    """How a packet is hashed; the values are the words of `--hashmode`.

    The first three are ipt_CLUSTERIP's and say which fields the hash reads. In the order of enum
    ci_hashmode of abi.h.
    """

    SOURCEIP = "sourceip"
    SOURCEIP_SOURCEPORT = "sourceip-sourceport"
    SOURCEIP_SOURCEPORT_DESTPORT = "sourceip-sourceport-destport"
    XT_CLUSTER = "xt-cluster"
    NFT_JHASH = "nft-jhash"

    @property
    def words(self) -> int:
        """How many 32-bit words the hash reads of an IPv4 packet: 1, 2 or 3."""
        return 1 + self.value.count("port")

    @property
    def raw(self) -> bool:
        """Whether the source address is read as it lies in a little-endian host's memory."""
        return self in {HashMode.XT_CLUSTER, HashMode.NFT_JHASH}


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


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Mix three words, more to follow: __jhash_mix of include/linux/jhash.h."""
    for shift in (4, 6, 8, 16, 19, 4):
        # The three take turns: what the kernel does to a, b and c, then to b, c and a, and so on.
        a = ((a - c) & _MASK) ^ _rol(c, shift)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def jhash(words: tuple[int, ...], hash_init: int) -> int:
    """Hash one to six 32-bit words, each 0..4294967295, with an initial value in that range."""
    initial = (hash_init + JHASH_INITVAL + (len(words) << 2)) & _MASK
    a = b = c = initial
    if len(words) > 3:
        first, second, third, *rest = words
        a, b, c = _mix((a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK)
        words = tuple(rest)
    first, second, third = (*words, 0, 0)[:3]
    return _final((a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK)


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
    if mode.raw:
        source = int.from_bytes(source.to_bytes(4, "big"), "little")
    words = (source, wire_port(source_port), wire_port(destination_port))[: mode.words]
    return (jhash(words, hash_init) * total >> 32) + 1


def bucket6_of(
    mode: HashMode,
    total: int,
    hash_init: int,
    source_prefix6: int,
    source: int,
    source_port: int = 0,
    destination_port: int = 0,
) -> int:
    """Return the bucket, 1..`total`, of an IPv6 packet whose fields are already checked.

    `source` is the address as a number, of which the first `source_prefix6` bits (1..128) are
    hashed: four words in host order, the first bytes first. Ports are as in `bucket_of`.
    XT_CLUSTER hashes the first 32 bits and NFT_JHASH all 128, whatever `source_prefix6` says.
    """
    if mode.raw:
        # xt_cluster divides NF_CT_TUPLE_L3SIZE, a number of words already, by the size of a word.
        count = 1 if mode is HashMode.XT_CLUSTER else 4
        raw = struct.unpack("<4I", source.to_bytes(16, "big"))[:count]
        return (jhash(raw, hash_init) * total >> 32) + 1
    rest = _BITS6 - source_prefix6
    hashed = source >> rest << rest
    address = tuple(hashed >> shift & _MASK for shift in (96, 64, 32, 0))
    ports = (wire_port(source_port), wire_port(destination_port))[: mode.words - 1]
    return (jhash((*address, *ports), hash_init) * total >> 32) + 1


def bucket(
    hashmode: str,
    total_nodes: int,
    hash_init: int,
    source: str,
    source_port: int = 0,
    destination_port: int = 0,
    *,
    source_prefix6: int = SOURCE_PREFIX6,
) -> int:
    """Return the bucket (CLUSTERIP's "node number"), 1..`total_nodes`, that a packet falls to.

    `hashmode` is a word of `--hashmode`, `total_nodes` 1..256, `hash_init` 0..4294967295,
    `source` an IPv4 or IPv6 address as text, the ports 0..65535 in host order. Protocols without
    ports (ICMP echo too) have ports 0. Of an IPv6 source the first `source_prefix6` bits, 1..128,
    are hashed; 32 by "xt-cluster" and 128 by "nft-jhash", always. Raises ValueError for anything
    else, naming it.
    """
    mode = check_parameters(hashmode, total_nodes, hash_init, source_prefix6)
    try:
        address: Address = address_of(source)
    except ValueError as error:
        raise ValueError(f"source {source!r} is not an IP address") from error
    for name, port in (("source_port", source_port), ("destination_port", destination_port)):
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"{name} {port} is not in 0..65535")
    ports = (source_port, destination_port)
    if isinstance(address, IPv6Address):
        return bucket6_of(mode, total_nodes, hash_init, source_prefix6, int(address), *ports)
    return bucket_of(mode, total_nodes, hash_init, int(address), *ports)


def check_parameters(
    hashmode: str, total_nodes: int, hash_init: int, source_prefix6: int = SOURCE_PREFIX6
) -> HashMode:
    """Return the hash mode if all of them are in range; else raise ValueError naming the fault."""
    try:
        mode = HashMode(hashmode)
    except ValueError as error:
        known = ", ".join(mode.value for mode in HashMode)
        raise ValueError(f"unknown hashmode {hashmode!r}: one of {known}") from error
    if not 1 <= total_nodes <= limits.BUCKETS:
        raise ValueError(f"total_nodes {total_nodes} is not in 1..{limits.BUCKETS}")
    if not 0 <= hash_init <= _MASK:
        raise ValueError(f"hash_init {hash_init} is not in 0..{_MASK}")
    if not 1 <= source_prefix6 <= _BITS6:
        raise ValueError(f"source_prefix6 {source_prefix6} is not in 1..{_BITS6}")
    return mode
