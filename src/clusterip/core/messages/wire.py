"""One message in one datagram.

`seal` says what is around the body, under the magic b"CLIP". All numbers are big-endian.
The body is

    offset  bytes  meaning
    0       8      sender
    8       8      boot id
    16      8      sequence
    24      8      the sender's clock, ns
    32      8      tag of sender, boot id and clock, for the kernel
    40      8      config digest
    48      8      voter-set digest
    56      8      digest of the voter set before, 0 for none
    64      8      term, ns, 0..60 s
    72      2      weight
    74      1      flags: 1 healthy, 2 leaving, 4 ready
    75      1      number of echoes, 0..36
    76      2      total, 1..256: buckets in the sets that follow
    78      2      bytes of the grants that follow the echoes
    80      b      want       b = (total + 7) / 8, bit 0 of byte 0 is bucket 1
    80+b    b      held
    80+2b   b      draining
    80+3b   b      draining elsewhere, as far as the sender has seen
    80+4b   24 e   echoes: node, boot id, and in one number the sequence (62 bits) and above it
                   whether it is known and, highest, whether it is acknowledged; 8 bytes each;
                   of the sender itself it is that of another boot, and neither
    then    g      grants
    then           flows, where there are any: b bytes, the buckets whose cells are named; where
                   of others all cells are kept, b bytes, these; and for each of the former,
                   ascending, its cells: 8 bytes, not 0, and all only where the second set is not

Grants name for each bucket an index: 0 for none, 1 for the sender, 2 + i for the node of
echo i. They are runs of (index, length - 1), a byte each, or, where that is shorter, one 255 and
then an index per bucket; either way they cover each bucket once.

Buckets with cells are draining. The length must be exactly what the counts say.

A datagram is to have FRAME bytes at most, for fragments are dropped by many firewalls and switches.
All but the flows fits for any cluster; who gives buckets away names the cells of `cells_that_fit`,
and keeps all cells of the rest.

bpf/beat.h reads sender, boot id and clock where they stand here. The tag lets the kernel, which
cannot check the MAC, know that a member said so: SipHash-2-4, under `clock_key`, of the three
words, each with its lowest byte first. Who checked the MAC need not look at it.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from typing import Final

from clusterip.core import limits
from clusterip.core.messages.message import EVERY_CELL, Heard, Message, buckets_of, mask_of
from clusterip.core.messages.seal import (
    MAX_DATAGRAM,
    MIN_KEY,
    OVERHEAD,
    Fault,
    Seal,
    WireError,
)
from clusterip.core.messages.siphash import KEY_BYTES, siphash

__all__ = [
    "FRAME",
    "MAX_DATAGRAM",
    "MAX_ECHOES",
    "MAX_TERM",
    "MIN_KEY",
    "Codec",
    "Fault",
    "WireError",
    "cells_that_fit",
]

MAX_ECHOES: Final = 36
"""So that a message for 256 buckets fits whatever it says; clusters have 32 nodes at most."""
FRAME: Final = 1400
"""Bytes: an MTU of 1,450, as on a VXLAN, less the headers of IPv6 and UDP."""
MAX_TERM: Final = 60_000_000_000
"""The longest restart term, ns: nobody may bind the voters for longer."""

_MAGIC: Final = b"CLIP"
_BODY: Final = struct.Struct("!QQQQQQQQQHBBHH")
_TAGGED: Final = struct.Struct("<QQQ")
_ECHO: Final = struct.Struct("!QQQ")
_CELLS: Final = struct.Struct("!Q")
_ACKNOWLEDGED: Final = 1 << 63
_KNOWN: Final = 1 << 62
_SEQUENCES: Final = 1 << 62
_PLAIN: Final = 255
_NO_GRANT: Final = 0
_SENDER: Final = 1
_FIRST_ECHO: Final = 2


def clock_key(secret: bytes, cluster: int) -> bytes:
    """Return the key, 16 bytes, under which messages of that cluster carry the tag of a clock.

    `secret` is the cluster's key, which cannot be found from what is derived here.
    """
    derived = hmac.digest(secret, b"clusterip clock" + cluster.to_bytes(8, "big"), "sha256")
    return derived[:KEY_BYTES]


def cells_that_fit(total: int, echoes: int) -> int:
    """Return of how many of `total` buckets, 1..256, a message with `echoes` can name cells."""
    width = (total + 7) // 8
    most_grants = 1 + total
    rest = OVERHEAD + _BODY.size + 6 * width + min(echoes, MAX_ECHOES) * _ECHO.size + most_grants
    return max(0, (FRAME - rest) // _CELLS.size)


class Codec:
    """Makes and reads the datagrams of one cluster.

    `keys` are the keys accepted, by key id 0..255, each of MIN_KEY bytes or more; `key` is
    the id of the one used to send; `total` is 1..256 buckets.
    """

    def __init__(self, cluster: int, keys: Mapping[int, bytes], key: int, total: int) -> None:
        if not 1 <= total <= limits.BUCKETS:
            raise ValueError(f"total {total} is not in 1..{limits.BUCKETS}")
        self._seal = Seal(_MAGIC, cluster, keys, key)
        self._clock_key = clock_key(keys[key], cluster)
        self._total = total

    def encode(self, message: Message) -> bytes:
        """Return the datagram; raises ValueError for a message that cannot be said in one."""
        return self._seal.close(_encode_body(message, self._total, self._clock_key))

    def decode(self, datagram: bytes) -> Message:
        """Return the message; raises WireError for anything that is not exactly one."""
        return _decode_body(self._seal.open(datagram), self._total)


def _encode_body(message: Message, total: int, clock_key: bytes) -> bytes:
    if len(message.heard) > MAX_ECHOES:
        raise ValueError(f"{len(message.heard)} echoes exceed {MAX_ECHOES}")
    width = (total + 7) // 8
    grants = _encode_grants(message, total)
    flags = message.healthy | message.leaving << 1 | message.ready << 2
    try:
        shown = _TAGGED.pack(message.sender, message.boot, message.clock)
        fixed = _BODY.pack(
            message.sender, message.boot, message.sequence, message.clock,
            siphash(clock_key, shown), message.config, message.voters, message.previous,
            message.term, message.weight, flags, len(message.heard), total, len(grants),
        )  # fmt: skip
        echoes = b"".join(
            _ECHO.pack(node, boot, sequence | known * _KNOWN | acknowledged * _ACKNOWLEDGED)
            for node, boot, sequence, known, acknowledged in message.heard
        )
        sets = (message.want, message.held, message.draining, message.seen_draining)
        masks = b"".join(mask.to_bytes(width, "little") for mask in sets)
    except (struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"a field is out of range: {error}") from error
    if (message.want | message.held | message.draining | message.seen_draining) >> total:
        raise ValueError(f"a set of buckets exceeds {total}")
    if max(message.sequence, *(entry.sequence for entry in message.heard), 0) >= _SEQUENCES:
        raise ValueError("a sequence is out of range")
    if message.term > MAX_TERM:
        raise ValueError(f"term {message.term} exceeds {MAX_TERM}")
    return fixed + masks + echoes + grants + _encode_flows(message, width)


def _encode_flows(message: Message, width: int) -> bytes:
    if not message.flows:
        return b""
    whole = mask_of(bucket for bucket, cells in message.flows if cells == EVERY_CELL)
    some = [(bucket, cells) for bucket, cells in sorted(message.flows) if cells != EVERY_CELL]
    listed = mask_of(bucket for bucket, _ in some)
    if (listed | whole) & ~message.draining:
        raise ValueError("flows of a bucket that does not drain")
    try:
        named = b"".join(_CELLS.pack(cells) for _, cells in some)
    except struct.error as error:
        raise ValueError(f"cells are out of range: {error}") from error
    # Without the second set where it is empty, as versions without it read it.
    kept_whole = whole.to_bytes(width, "little") if whole else b""
    return listed.to_bytes(width, "little") + kept_whole + named


def _encode_grants(message: Message, total: int) -> bytes:
    place = {entry.node: _FIRST_ECHO + i for i, entry in enumerate(message.heard)}
    place[message.sender] = _SENDER
    indices = bytearray(total)
    for node, mask in message.grants:
        if node not in place or mask >> total:
            raise ValueError(f"a grant to {node} cannot be said")
        for bucket in buckets_of(mask):
            if indices[bucket - 1]:
                raise ValueError(f"bucket {bucket} is granted twice")
            indices[bucket - 1] = place[node]
    runs = bytearray()
    for index in indices:
        if runs and runs[-2] == index:
            runs[-1] += 1
        else:
            runs += bytes((index, 0))
    return bytes(runs) if len(runs) <= total else bytes((_PLAIN,)) + indices


def _decode_body(body: bytes, total: int) -> Message:
    if len(body) < _BODY.size:
        raise WireError(Fault.MALFORMED)
    (
        sender, boot, sequence, clock, _, config, voters, previous, term, weight,
        flags, echoes, said_total, grant_bytes,
    ) = _BODY.unpack_from(body)  # fmt: skip
    # Another total is another configuration: it is reported as such, its sets are not ours.
    if not 1 <= said_total <= limits.BUCKETS or echoes > MAX_ECHOES or flags > 7:
        raise WireError(Fault.MALFORMED)
    width = (said_total + 7) // 8
    at_echoes = _BODY.size + 4 * width
    at_grants = at_echoes + echoes * _ECHO.size
    at_flows = at_grants + grant_bytes
    if len(body) < at_flows:
        raise WireError(Fault.MALFORMED)
    want, held, draining, seen_draining = (
        int.from_bytes(body[at : at + width], "little")
        for at in range(_BODY.size, at_echoes, width)
    )
    heard = tuple(
        Heard(node, boot, last % _SEQUENCES, bool(last & _KNOWN), bool(last & _ACKNOWLEDGED))
        for node, boot, last in _ECHO.iter_unpack(body[at_echoes:at_grants])
    )
    nodes = [0, sender, *(0 if entry.node == sender else entry.node for entry in heard)]
    ids = {entry.node for entry in heard}
    faulty = (
        (want | held | draining | seen_draining) >> said_total
        or held & ~want
        or term > MAX_TERM
        or not (sender and boot and 0 < sequence < _SEQUENCES and config and voters)
        or len(ids) != echoes
        or not all(entry.node and entry.boot for entry in heard)
        or any(entry.acknowledged and not entry.known for entry in heard)
        or any(entry.known and entry.node == sender for entry in heard)
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    grants = _decode_grants(body[at_grants:at_flows], said_total, nodes)
    flows = _decode_flows(body[at_flows:], width, draining)
    if said_total != total:
        want = held = draining = seen_draining = 0
        grants = flows = ()
    return Message(
        sender, boot, sequence, config, voters, previous, weight,
        bool(flags & 1), bool(flags & 2), bool(flags & 4),
        term, want, held, draining, heard, grants, flows, clock, seen_draining,
    )  # fmt: skip


def _decode_flows(raw: bytes, width: int, possible: int) -> tuple[tuple[int, int], ...]:
    if not raw:
        return ()
    listed = int.from_bytes(raw[:width], "little")
    at_named = len(raw) - _CELLS.size * listed.bit_count()
    whole = int.from_bytes(raw[width:at_named], "little")
    faulty = (
        at_named not in {width, 2 * width}
        or (at_named == 2 * width) != bool(whole)
        or not listed | whole
        or listed & whole
        or (listed | whole) & ~possible
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    flows = dict.fromkeys(buckets_of(whole), EVERY_CELL)
    for bucket, (cells,) in zip(
        buckets_of(listed), _CELLS.iter_unpack(raw[at_named:]), strict=True
    ):
        if not cells or (whole and cells == EVERY_CELL):
            raise WireError(Fault.MALFORMED)
        flows[bucket] = cells
    return tuple(sorted(flows.items()))


def _decode_grants(raw: bytes, total: int, nodes: list[int]) -> tuple[tuple[int, int], ...]:
    if raw[:1] == bytes((_PLAIN,)):
        runs = [(index, 1) for index in raw[1:]]
    elif len(raw) % 2 or len(raw) > 2 * total:
        raise WireError(Fault.MALFORMED)
    else:
        runs = [(raw[at], raw[at + 1] + 1) for at in range(0, len(raw), 2)]
    masks: dict[int, int] = {}
    bucket = 0
    for index, length in runs:
        if index >= len(nodes) or (index != _NO_GRANT and not nodes[index]):
            raise WireError(Fault.MALFORMED)
        if index != _NO_GRANT:
            masks[index] = masks.get(index, 0) | (1 << length) - 1 << bucket
        bucket += length
    if bucket != total:
        raise WireError(Fault.MALFORMED)
    return tuple((nodes[index], mask) for index, mask in sorted(masks.items()))
