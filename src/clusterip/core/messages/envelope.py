"""What all datagrams of a cluster have around their body: a head, and a MAC over all of it.

All numbers are big-endian. A datagram is

    offset  bytes  meaning
    0       4      magic: which kind of datagram
    4       1      version of the body, 1..255
    5       1      key id, 0..255
    6       8      cluster id, 1..2**64-1
    14      n      body
    14 + n  32     HMAC-SHA256, under that key, of all before it

The magic is under the MAC too, so a datagram of one kind never passes for another. The MAC is
checked before anything of the body is looked at, so who does not have a key gets no further than
a few comparisons; the body is to be checked all the same, for keys leak and hosts err. Of several
keys that are accepted one is used to send, so that keys are changed host by host: first accepted
everywhere, then used, then dropped.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

MAX_DATAGRAM: Final = 4000
"""Bytes: what a receiver has room for. Beyond the MTU they come in fragments."""
MIN_KEY: Final = 16
"""Bytes a key must have at least."""
MAGIC_BYTES: Final = 4

_HEAD: Final = struct.Struct(f"!{MAGIC_BYTES}sBBQ")
_KEY_AT: Final = MAGIC_BYTES + 1
_MAC: Final = 32
OVERHEAD: Final = _HEAD.size + _MAC
"""How many bytes a datagram has beside its body."""


class Fault(Enum):
    """Why a datagram was discarded; each is to be counted."""

    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    MAGIC = "bad magic"
    VERSION = "wrong version"
    CLUSTER = "wrong cluster"
    KEY = "unknown key"
    MAC = "bad MAC"
    MALFORMED = "malformed"


class WireError(Exception):
    """A datagram that is not a message to us."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Opened(NamedTuple):
    """What a datagram held: the version of its body, and the body."""

    version: int
    body: bytes


class Envelope:
    """Closes and opens the datagrams of one kind, in one cluster.

    `magic` has MAGIC_BYTES bytes, `cluster` is 1..2**64-1. `keys` are the keys accepted, by key
    id 0..255, each of MIN_KEY bytes or more; `key` is the id of the one used to send. Raises
    ValueError for anything else.
    """

    def __init__(self, magic: bytes, cluster: int, keys: Mapping[int, bytes], key: int) -> None:
        if len(magic) != MAGIC_BYTES or not 1 <= cluster < 1 << 64:
            raise ValueError(f"magic {magic!r} or cluster {cluster} is out of range")
        if key not in keys:
            raise ValueError(f"key {key} is not among the keys")
        for number, secret in keys.items():
            if not 0 <= number <= 255 or len(secret) < MIN_KEY:
                raise ValueError(f"key {number} must be 0..255 and have {MIN_KEY} bytes or more")
        self._magic = magic
        self._cluster = cluster
        self._keys = dict(keys)
        self._key = key

    def close(self, body: bytes, *, version: int = 1) -> bytes:
        """Return the datagram with that body; raises ValueError if it is too long for one."""
        length = len(body) + OVERHEAD
        if length > MAX_DATAGRAM:
            raise ValueError(f"a message of {length} bytes exceeds {MAX_DATAGRAM}")
        sealed = _HEAD.pack(self._magic, version, self._key, self._cluster) + body
        return sealed + hmac.digest(self._keys[self._key], sealed, "sha256")

    def open(self, datagram: bytes) -> Opened:
        """Return what is in a datagram that who has a key sent; raises WireError for others."""
        if len(datagram) > MAX_DATAGRAM:
            raise WireError(Fault.OVERSIZED)
        if len(datagram) < OVERHEAD:
            raise WireError(Fault.TRUNCATED)
        magic, version, key, cluster = _HEAD.unpack_from(datagram)
        if magic != self._magic:
            raise WireError(Fault.MAGIC)
        if not version:
            raise WireError(Fault.VERSION)
        if cluster != self._cluster:
            raise WireError(Fault.CLUSTER)
        secret = self._keys.get(key)
        if secret is None:
            raise WireError(Fault.KEY)
        mac = hmac.digest(secret, datagram[:-_MAC], "sha256")
        if not hmac.compare_digest(mac, datagram[-_MAC:]):
            raise WireError(Fault.MAC)
        return Opened(version, datagram[_HEAD.size : -_MAC])


def key_of(datagram: bytes) -> int:
    """Return the id of the key that a datagram, which was opened, is sealed with."""
    return datagram[_KEY_AT]


def claimed_sender(datagram: bytes) -> int:
    """Return the node that a datagram says it is from, which nobody checked; 0 for none.

    Every body begins with it.
    """
    return int.from_bytes(datagram[_HEAD.size : _HEAD.size + 8]) if len(datagram) >= OVERHEAD else 0
