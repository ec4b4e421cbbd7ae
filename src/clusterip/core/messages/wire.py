"""One message in one datagram, made and read; `layout` says what it looks like."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping

from clusterip.core import limits
from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of, mask_of
from clusterip.core.messages import fields, layout
from clusterip.core.messages.echoes import Echoed
from clusterip.core.messages.envelope import (
    MAX_DATAGRAM,
    MIN_KEY,
    OVERHEAD,
    Envelope,
    Fault,
    WireError,
)
from clusterip.core.messages.layout import FRAME, MAX_ECHOES, MAX_GRACE
from clusterip.core.messages.message import Message
from clusterip.core.messages.reading import Reader, UnreadableError
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
    heard = fields.HEAD_BYTES + min(echoes, layout.MAX_ECHOES) * layout.ECHO.size
    grants = fields.HEAD_BYTES + 1 + total
    flows = fields.HEAD_BYTES + 2 * width
    keys = fields.HEAD_BYTES + layout.KEY_BYTES
    rest = OVERHEAD + layout.BODY.size + sets + heard + grants + flows + keys
    return max(0, (layout.FRAME - rest) // layout.FLOW_SLOTS.size)


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
        self._seal = Envelope(layout.MAGIC, cluster, keys, key)
        self._clock_key = clock_key(keys[key], cluster)
        self._total = total
        self._reader = Reader(total, speaks)
        self._granted: tuple[int, Echoed | None, tuple[tuple[int, int], ...], bytes]
        self._granted = 0, None, (), b""

    def encode(self, message: Message) -> bytes:
        """Return the datagram; raises ValueError for a message that cannot be said in one."""
        body = _encode_body(message, self._total, self._clock_key, self._grants(message))
        return self._seal.close(body, version=message.version)

    def _grants(self, message: Message) -> bytes:
        """Return the grants of a message: those of the one before, as a rule."""
        sender, of, grants, raw = self._granted
        if (message.sender, message.grants) != (sender, grants) or message.heard.of is not of:
            raw = _encode_grants(message, self._total)
            self._granted = message.sender, message.heard.of, message.grants, raw
        return raw

    def decode(self, datagram: bytes) -> Message:
        """Return the message; raises WireError for anything that is not exactly one.

        UnreadableError for one in a version that is not spoken here.
        """
        version, body = self._seal.open(datagram)
        return self._reader.read(body, version)


def _encode_body(message: Message, total: int, clock_key: bytes, grants: bytes) -> bytes:
    if len(message.heard) > layout.MAX_ECHOES:
        raise ValueError(f"{len(message.heard)} echoes exceed {layout.MAX_ECHOES}")
    width = (total + 7) // 8
    flags = message.healthy | message.leaving << 1 | message.ready << 2 | message.ends << 3
    try:
        shown = layout.TAGGED.pack(message.sender, message.incarnation, message.clock)
        fixed = layout.BODY.pack(
            message.sender, message.incarnation, message.sequence, message.clock,
            siphash(clock_key, shown), message.config, message.voters, message.previous,
            message.grace, message.weight, flags, *message.speaks, total,
        )  # fmt: skip
        echoes = b"".join(
            layout.ECHO.pack(
                node,
                incarnation,
                sequence | known * layout.KNOWN | acknowledged * layout.ACKNOWLEDGED,
            )
            for node, incarnation, sequence, known, acknowledged in message.heard
        )
        values = {
            number: mask.to_bytes(width, "little") if mask else b""
            for number, mask in (
                (layout.WANT, message.want),
                (layout.HELD, message.held),
                (layout.DRAINING, message.draining),
                (layout.ELSEWHERE, message.seen_draining),
            )
        }
    except (struct.error, OverflowError, TypeError) as error:
        raise ValueError(f"a field is out of range: {error}") from error
    if (message.want | message.held | message.draining | message.seen_draining) >> total:
        raise ValueError(f"a set of buckets exceeds {total}")
    if max(message.sequence, *message.heard.sequences, 0) >= layout.SEQUENCES:
        raise ValueError("a sequence is out of range")
    if message.grace > layout.MAX_GRACE:
        raise ValueError(f"term {message.grace} exceeds {layout.MAX_GRACE}")
    values[layout.ECHOES] = echoes
    values[layout.GRANTS] = grants
    values[layout.FLOWS] = _encode_flows(message, width)
    body = fixed + fields.encode(values)
    more = fields.encode({layout.KEYS: _encode_keys(message.keys)})
    return body + more if OVERHEAD + len(body) + len(more) <= layout.FRAME else body


def _encode_keys(keys: int) -> bytes:
    try:
        return keys.to_bytes(layout.KEY_BYTES, "little").rstrip(b"\0")
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
        named = b"".join(layout.FLOW_SLOTS.pack(flow_slots) for _, flow_slots in some)
    except struct.error as error:
        raise ValueError(f"cells are out of range: {error}") from error
    return listed.to_bytes(width, "little") + whole.to_bytes(width, "little") + named


def _encode_grants(message: Message, total: int) -> bytes:
    if not message.grants:
        return b""
    place = {entry.node: layout.FIRST_ECHO + i for i, entry in enumerate(message.heard)}
    place[message.sender] = layout.SENDER
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
    return bytes(runs) if len(runs) <= total else bytes((layout.PLAIN,)) + indices
