"""One message in one datagram.

`seal` says what is around the body, under the magic b"CLIP". All numbers are big-endian.
The body is

    offset  bytes  meaning
    0       8      sender
    8       8      incarnation
    16      8      sequence
    24      8      the sender's clock, ns
    32      8      tag of sender, incarnation and clock, for the kernel
    40      8      config digest
    48      8      voter-set digest
    56      8      digest of the voter set before, 0 for none
    64      8      grace, ns, 0..60 s
    72      2      weight
    74      1      flags: 1 healthy, 2 leaving, 4 ready, 8 told to stop; the rest is not looked at
    75      1      lowest version that the sender speaks, 1..255
    76      1      highest version that it speaks
    77      1      0, not looked at
    78      2      total, 1..256: buckets in the sets that follow
    80             fields (`fields`):

    number  value 1       want, in b = (total + 7) / 8 bytes; bit 0 of byte 0 is bucket 1 2
    held, b bytes 3       draining, b bytes 4       draining elsewhere, as far as the sender has
    seen, b bytes 5       echoes, 36 at most, each of 24 bytes: node, incarnation, and in one number
    the sequence (62 bits) and above it whether it is known and, highest, whether it is
    acknowledged; of the sender itself it is that of another incarnation, and neither 6       grants
    7       flows: b bytes, the buckets whose flow slots are named; b bytes, those of which all flow
    slots are kept; and for each of the former, ascending, its flow slots: 8 bytes, neither 0 nor
    all 8       keys: the ids of those that the sender has, 1..32 bytes, of which the last is not 0;
    bit 0 of byte 0 is key 0

A field that is not there is empty: no bucket, nobody. One of another number is skipped. The first
80 bytes are alike in all versions: whoever reads has to learn who speaks, and in which versions.

Grants name for each bucket an index: 0 for none, 1 for the sender, 2 + i for the node of
echo i. They are runs of (index, length - 1), a byte each, or, where that is shorter, one 255 and
then an index per bucket; either way they cover each bucket once.

Buckets with flow slots are draining.

A datagram is to have FRAME bytes at most, for fragments are dropped by many firewalls and switches.
All but the flows fits for any cluster; who gives buckets away names the flow slots of
`cells_that_fit`, and keeps all flow slots of the rest. Where the keys make it longer than that,
they are left out.

bpf/beat.h reads sender, incarnation and clock where they stand here. The tag lets the kernel, which
cannot check the MAC, know that a member said so: SipHash-2-4, under `clock_key`, of the three
words, each with its lowest byte first. Who checked the MAC need not look at it.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from typing import Final

from clusterip.core import limits
from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of, mask_of
from clusterip.core.messages import fields
from clusterip.core.messages.envelope import (
    MAX_DATAGRAM,
    MIN_KEY,
    OVERHEAD,
    Envelope,
    Fault,
    WireError,
)
from clusterip.core.messages.message import Heard, Message
from clusterip.core.messages.siphash import KEY_BYTES, siphash
from clusterip.core.messages.versions import SPOKEN, Versions

__all__ = [
    "FRAME",
    "MAX_DATAGRAM",
    "MAX_ECHOES",
    "MAX_GRACE",
    "MIN_KEY",
    "Codec",
    "Fault",
    "UnreadableError",
    "WireError",
    "flow_slots_that_fit",
]

MAX_ECHOES: Final = 36
"""So that a message for 256 buckets fits whatever it says; clusters have 32 nodes at most."""
FRAME: Final = 1400
"""Bytes: an MTU of 1,450, as on a VXLAN, less the headers of IPv6 and UDP."""
MAX_GRACE: Final = 60_000_000_000
"""The longest restart grace, ns: nobody may bind the voters for longer."""

_MAGIC: Final = b"CLIP"
_BODY: Final = struct.Struct("!QQQQQQQQQHBBBxH")
_TAGGED: Final = struct.Struct("<QQQ")
_ECHO: Final = struct.Struct("!QQQ")
_FLOW_SLOTS: Final = struct.Struct("!Q")
_ACKNOWLEDGED: Final = 1 << 63
_KNOWN: Final = 1 << 62
_SEQUENCES: Final = 1 << 62
_PLAIN: Final = 255
_NO_GRANT: Final = 0
_SENDER: Final = 1
_FIRST_ECHO: Final = 2
_KEY_BYTES: Final = 32
"""Of a mask of key ids, 0..255."""
_WANT, _HELD, _DRAINING, _ELSEWHERE, _ECHOES, _GRANTS, _FLOWS, _KEYS = range(1, 9)


class UnreadableError(WireError):
    """A message in a version that is not spoken here.

    Of `head` only the first 80 bytes are read:
    who spoke, which message it is, what its clock showed, its grace, and the versions spoken.
    """

    def __init__(self, head: Message) -> None:
        super().__init__(Fault.VERSION)
        self.head = head


def clock_key(secret: bytes, cluster: int) -> bytes:
    """Return the key, 16 bytes, under which messages of that cluster carry the tag of a clock.

    `secret` is the cluster's key, which cannot be found from what is derived here.
    """
    derived = hmac.digest(secret, b"clusterip clock" + cluster.to_bytes(8, "big"), "sha256")
    return derived[:KEY_BYTES]


def flow_slots_that_fit(total: int, echoes: int) -> int:
    """Return of how many of `total` buckets, 1..256, a message of `echoes` has flow slots."""
    width = (total + 7) // 8
    sets = 4 * (fields.HEAD_BYTES + width)
    heard = fields.HEAD_BYTES + min(echoes, MAX_ECHOES) * _ECHO.size
    grants = fields.HEAD_BYTES + 1 + total
    flows = fields.HEAD_BYTES + 2 * width
    keys = fields.HEAD_BYTES + _KEY_BYTES
    rest = OVERHEAD + _BODY.size + sets + heard + grants + flows + keys
    return max(0, (FRAME - rest) // _FLOW_SLOTS.size)


class Codec:
    """Makes and reads the datagrams of one cluster.

    `keys` are the keys accepted, by key id 0..255, each of MIN_KEY bytes or more; `key` is
    the id of the one used to send; `total` is 1..256 buckets; `speaks` are the versions to read.
    """

    def __init__(
        self,
        cluster: int,
        keys: Mapping[int, bytes],
        key: int,
        total: int,
        speaks: Versions = SPOKEN,
    ) -> None:
        if not 1 <= total <= limits.BUCKETS:
            raise ValueError(f"total {total} is not in 1..{limits.BUCKETS}")
        self._seal = Envelope(_MAGIC, cluster, keys, key)
        self._clock_key = clock_key(keys[key], cluster)
        self._total = total
        self._speaks = speaks

    def encode(self, message: Message) -> bytes:
        """Return the datagram; raises ValueError for a message that cannot be said in one."""
        body = _encode_body(message, self._total, self._clock_key)
        return self._seal.close(body, version=message.version)

    def decode(self, datagram: bytes) -> Message:
        """Return the message; raises WireError for anything that is not exactly one.

        UnreadableError for one in a version that is not spoken here.
        """
        version, body = self._seal.open(datagram)
        return _decode_body(body, version, self._total, self._speaks)


def _encode_body(message: Message, total: int, clock_key: bytes) -> bytes:
    if len(message.heard) > MAX_ECHOES:
        raise ValueError(f"{len(message.heard)} echoes exceed {MAX_ECHOES}")
    width = (total + 7) // 8
    flags = message.healthy | message.leaving << 1 | message.ready << 2 | message.ends << 3
    try:
        shown = _TAGGED.pack(message.sender, message.incarnation, message.clock)
        fixed = _BODY.pack(
            message.sender, message.incarnation, message.sequence, message.clock,
            siphash(clock_key, shown), message.config, message.voters, message.previous,
            message.grace, message.weight, flags, *message.speaks, total,
        )  # fmt: skip
        echoes = b"".join(
            _ECHO.pack(node, incarnation, sequence | known * _KNOWN | acknowledged * _ACKNOWLEDGED)
            for node, incarnation, sequence, known, acknowledged in message.heard
        )
        values = {
            number: mask.to_bytes(width, "little") if mask else b""
            for number, mask in (
                (_WANT, message.want),
                (_HELD, message.held),
                (_DRAINING, message.draining),
                (_ELSEWHERE, message.seen_draining),
            )
        }
    except (struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"a field is out of range: {error}") from error
    if (message.want | message.held | message.draining | message.seen_draining) >> total:
        raise ValueError(f"a set of buckets exceeds {total}")
    if max(message.sequence, *(entry.sequence for entry in message.heard), 0) >= _SEQUENCES:
        raise ValueError("a sequence is out of range")
    if message.grace > MAX_GRACE:
        raise ValueError(f"term {message.grace} exceeds {MAX_GRACE}")
    values[_ECHOES] = echoes
    values[_GRANTS] = _encode_grants(message, total)
    values[_FLOWS] = _encode_flows(message, width)
    body = fixed + fields.encode(values)
    more = fields.encode({_KEYS: _encode_keys(message.keys)})
    return body + more if OVERHEAD + len(body) + len(more) <= FRAME else body


def _encode_keys(keys: int) -> bytes:
    try:
        return keys.to_bytes(_KEY_BYTES, "little").rstrip(b"\0")
    except OverflowError as error:
        raise ValueError(f"keys are out of range: {error}") from error


def _encode_flows(message: Message, width: int) -> bytes:
    if not message.flows:
        return b""
    whole = mask_of(bucket for bucket, flow_slots in message.flows if flow_slots == EVERY_FLOW_SLOT)
    some = [
        (bucket, flow_slots)
        for bucket, flow_slots in sorted(message.flows)
        if flow_slots != EVERY_FLOW_SLOT
    ]
    listed = mask_of(bucket for bucket, _ in some)
    if (listed | whole) & ~message.draining:
        raise ValueError("flows of a bucket that does not drain")
    try:
        named = b"".join(_FLOW_SLOTS.pack(flow_slots) for _, flow_slots in some)
    except struct.error as error:
        raise ValueError(f"cells are out of range: {error}") from error
    return listed.to_bytes(width, "little") + whole.to_bytes(width, "little") + named


def _encode_grants(message: Message, total: int) -> bytes:
    if not message.grants:
        return b""
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


def _decode_body(body: bytes, version: int, total: int, speaks: Versions) -> Message:
    if len(body) < _BODY.size:
        raise WireError(Fault.MALFORMED)
    (
        sender, incarnation, sequence, clock, _, config, voters, previous, grace, weight,
        flags, lowest, highest, said_total,
    ) = _BODY.unpack_from(body)  # fmt: skip
    # Another total is another configuration: it is reported as such, its sets are not ours.
    if not (1 <= said_total <= limits.BUCKETS and sender and 1 <= lowest <= version <= highest):
        raise WireError(Fault.MALFORMED)
    if not speaks.lowest <= version <= speaks.highest:
        if not (incarnation and 0 < sequence < _SEQUENCES):
            raise WireError(Fault.MALFORMED)
        head = Message(sender, incarnation, sequence, config, voters, previous, clock=clock)
        raise UnreadableError(
            head._replace(
                grace=min(grace, MAX_GRACE), version=version, speaks=Versions(lowest, highest)
            )
        )
    width = (said_total + 7) // 8
    values = fields.decode(body[_BODY.size :])
    sets = [values.get(number, bytes(width)) for number in (_WANT, _HELD, _DRAINING, _ELSEWHERE)]
    want, held, draining, seen_draining = (int.from_bytes(one, "little") for one in sets)
    echoes = values.get(_ECHOES, b"")
    if any(len(one) != width for one in sets) or len(echoes) % _ECHO.size:
        raise WireError(Fault.MALFORMED)
    heard = tuple(
        Heard(node, incarnation, last % _SEQUENCES, bool(last & _KNOWN), bool(last & _ACKNOWLEDGED))
        for node, incarnation, last in _ECHO.iter_unpack(echoes)
    )
    nodes = [0, sender, *(0 if entry.node == sender else entry.node for entry in heard)]
    faulty = (
        (want | held | draining | seen_draining) >> said_total
        or held & ~want
        or grace > MAX_GRACE
        or not (incarnation and 0 < sequence < _SEQUENCES and config and voters)
        or len(heard) > MAX_ECHOES
        or len({entry.node for entry in heard}) != len(heard)
        or not all(entry.node and entry.incarnation for entry in heard)
        or any(entry.acknowledged and not entry.known for entry in heard)
        or any(entry.known and entry.node == sender for entry in heard)
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    keys = values.get(_KEYS, b"")
    if len(keys) > _KEY_BYTES or keys.endswith(b"\0"):
        raise WireError(Fault.MALFORMED)
    grants = _decode_grants(values.get(_GRANTS, b""), said_total, nodes)
    flows = _decode_flows(values.get(_FLOWS, b""), width, draining)
    if said_total != total:
        want = held = draining = seen_draining = 0
        grants = flows = ()
    return Message(
        sender, incarnation, sequence, config, voters, previous, weight,
        bool(flags & 1), bool(flags & 2), bool(flags & 4),
        grace, want, held, draining, heard, grants, flows, clock, seen_draining,
        version, Versions(lowest, highest), int.from_bytes(keys, "little"), bool(flags & 8),
    )  # fmt: skip


def _decode_flows(raw: bytes, width: int, possible: int) -> tuple[tuple[int, int], ...]:
    if not raw:
        return ()
    listed = int.from_bytes(raw[:width], "little")
    whole = int.from_bytes(raw[width : 2 * width], "little")
    named = raw[2 * width :]
    faulty = (
        len(raw) < 2 * width
        or len(named) != _FLOW_SLOTS.size * listed.bit_count()
        or not listed | whole
        or listed & whole
        or (listed | whole) & ~possible
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    flows = dict.fromkeys(buckets_of(whole), EVERY_FLOW_SLOT)
    for bucket, (flow_slots,) in zip(
        buckets_of(listed), _FLOW_SLOTS.iter_unpack(named), strict=True
    ):
        if flow_slots in {0, EVERY_FLOW_SLOT}:
            raise WireError(Fault.MALFORMED)
        flows[bucket] = flow_slots
    return tuple(sorted(flows.items()))


def _decode_grants(raw: bytes, total: int, nodes: list[int]) -> tuple[tuple[int, int], ...]:
    if not raw:
        return ()
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
