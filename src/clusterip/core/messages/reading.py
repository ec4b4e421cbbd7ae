"""Reading the body of a message: every length and bound is checked before it is believed.

Most messages of a node differ from its one before in sequence, clock, and the sequences of its
echoes alone, byte for byte. Then only these are read, and the rest is what was read before.
"""

from __future__ import annotations

import struct
from operator import sub
from typing import Final

from clusterip.core import limits
from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of
from clusterip.core.messages import fields, layout
from clusterip.core.messages.echoes import Echoed, Echoes, Heard
from clusterip.core.messages.envelope import Fault, WireError
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Versions

_NEWS: Final = struct.Struct("!QQQQ")
"""How a body begins: sender, incarnation, sequence, clock; then comes the tag."""
_LIKE_BEFORE: Final = 40
"""Where that begins which may be as it was."""
_HEARD: Final = Message._fields.index("heard")
_CLOCK: Final = Message._fields.index("clock")
_SENDERS: Final = 64
"""Of how many the newest is remembered: clusters have 32 nodes at most."""


class UnreadableError(WireError):
    """A message in a version that is not spoken here.

    Of `head` only the first 80 bytes are read:
    who spoke, which message it is, what its clock showed, its grace, and the versions spoken.
    """

    def __init__(self, head: Message) -> None:
        super().__init__(Fault.VERSION)
        self.head = head


class _Read:
    """What was read of a message, and the bytes of which that was."""

    __slots__ = (
        "after", "before", "echoes_at", "echoes_end", "flags", "incarnation", "length", "marks",
        "message", "unpack", "version", "who",
    )  # fmt: skip

    def __init__(
        self, body: bytes, version: int, message: Message, echoes: tuple[int, int]
    ) -> None:
        self.version, self.length = version, len(body)
        self.message, self.incarnation = message, message.incarnation
        self.echoes_at, self.echoes_end = echoes
        self.before = body[_LIKE_BEFORE : self.echoes_at]
        self.after = body[self.echoes_end :]
        # Of each echo the node and its incarnation as they are, and the number behind them.
        self.unpack = struct.Struct("!" + len(message.heard) * "16sQ").unpack_from
        words = self.unpack(body, self.echoes_at)
        self.who = words[0::2]
        self.marks = tuple(one - one % layout.SEQUENCES for one in words[1::2])

    def again(self, body: bytes, version: int, sequence: int, clock: int) -> Message | None:
        """Return the message in `body` if it is like this one, else None."""
        if (
            len(body) != self.length
            or version != self.version
            or body[_LIKE_BEFORE : self.echoes_at] != self.before
            or body[self.echoes_end :] != self.after
        ):
            return None
        words = self.unpack(body, self.echoes_at)
        if words[0::2] != self.who:
            return None
        sequences = tuple(map(sub, words[1::2], self.marks))
        if sequences and not 0 <= min(sequences) <= max(sequences) < layout.SEQUENCES:
            return None
        known = self.message
        heard = Echoes(known.heard.of, sequences)
        return Message._make(
            (*known[:2], sequence, *known[3:_HEARD], heard, *known[_HEARD + 1 : _CLOCK], clock,
             *known[_CLOCK + 1 :])
        )  # fmt: skip


class Reader:
    """Reads bodies, of `total` buckets, in the versions that it `speaks`."""

    def __init__(self, total: int, speaks: Versions) -> None:
        self._total, self._speaks = total, speaks
        self._read: dict[int, _Read] = {}
        """By sender, the newest."""

    def read(self, body: bytes, version: int) -> Message:
        """Return the message; raises WireError for anything that is not exactly one.

        UnreadableError for one in a version that is not spoken here.
        """
        if len(body) < layout.BODY.size:
            raise WireError(Fault.MALFORMED)
        sender, incarnation, sequence, clock = _NEWS.unpack_from(body)
        known = self._read.get(sender)
        if (
            known is not None
            and known.incarnation == incarnation
            and 0 < sequence < layout.SEQUENCES
        ):
            message = known.again(body, version, sequence, clock)
            if message is not None:
                return message
        like = known.message.heard.of if known is not None else None
        message, echoes = _decode_body(body, version, self._total, self._speaks, like)
        if sender not in self._read and len(self._read) == _SENDERS:
            self._read.clear()
        self._read[sender] = _Read(body, version, message, echoes)
        return message


def _decode_body(
    body: bytes, version: int, total: int, speaks: Versions, like: Echoed | None
) -> tuple[Message, tuple[int, int]]:
    """Return the message, and where its echoes begin and end."""
    (
        sender, incarnation, sequence, clock, _, config, voters, previous, grace, weight,
        flags, lowest, highest, said_total,
    ) = layout.BODY.unpack_from(body)  # fmt: skip
    # Another total is another configuration: it is reported as such, its sets are not ours.
    if not (1 <= said_total <= limits.BUCKETS and sender and 1 <= lowest <= version <= highest):
        raise WireError(Fault.MALFORMED)
    if not speaks.lowest <= version <= speaks.highest:
        if not (incarnation and 0 < sequence < layout.SEQUENCES):
            raise WireError(Fault.MALFORMED)
        head = Message(sender, incarnation, sequence, config, voters, previous, clock=clock)
        raise UnreadableError(
            head._replace(
                grace=min(grace, layout.MAX_GRACE),
                version=version,
                speaks=Versions(lowest, highest),
            )
        )
    width = (said_total + 7) // 8
    places = fields.places(body[layout.BODY.size :])
    values = {
        number: body[layout.BODY.size + start : layout.BODY.size + end]
        for number, (start, end) in places.items()
    }
    sets = [
        values.get(number, bytes(width))
        for number in (layout.WANT, layout.HELD, layout.DRAINING, layout.ELSEWHERE)
    ]
    want, held, draining, seen_draining = (int.from_bytes(one, "little") for one in sets)
    echoes = values.get(layout.ECHOES, b"")
    if any(len(one) != width for one in sets) or len(echoes) % layout.ECHO.size:
        raise WireError(Fault.MALFORMED)
    heard = Echoes.said(
        (
            Heard(
                node,
                incarnation,
                last % layout.SEQUENCES,
                bool(last & layout.KNOWN),
                bool(last & layout.ACKNOWLEDGED),
            )
            for node, incarnation, last in layout.ECHO.iter_unpack(echoes)
        ),
        like=like,
    )
    nodes = [0, sender, *(0 if node == sender else node for node, *_ in heard.of.entries)]
    faulty = (
        (want | held | draining | seen_draining) >> said_total
        or held & ~want
        or grace > layout.MAX_GRACE
        or not (incarnation and 0 < sequence < layout.SEQUENCES and config and voters)
        or len(heard) > layout.MAX_ECHOES
        or len(heard.of.place) != len(heard)
        or not all(node and incarnation for node, incarnation, *_ in heard.of.entries)
        or not heard.of.acknowledged.keys() <= heard.of.known.keys()
        or sender in heard.of.known
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    keys = values.get(layout.KEYS, b"")
    if len(keys) > layout.KEY_BYTES or keys.endswith(b"\0"):
        raise WireError(Fault.MALFORMED)
    grants = _decode_grants(values.get(layout.GRANTS, b""), said_total, nodes)
    flows = _decode_flows(values.get(layout.FLOWS, b""), width, draining)
    if said_total != total:
        want = held = draining = seen_draining = 0
        grants = flows = ()
    start, end = places.get(layout.ECHOES, (0, 0))
    message = Message(
        sender, incarnation, sequence, config, voters, previous, weight,
        bool(flags & 1), bool(flags & 2), bool(flags & 4),
        grace, want, held, draining, heard, grants, flows, clock, seen_draining,
        version, Versions(lowest, highest), int.from_bytes(keys, "little"),
        bool(flags & 8),
    )  # fmt: skip
    return message, (layout.BODY.size + start, layout.BODY.size + end)


def _decode_flows(raw: bytes, width: int, possible: int) -> tuple[tuple[int, int], ...]:
    if not raw:
        return ()
    listed = int.from_bytes(raw[:width], "little")
    whole = int.from_bytes(raw[width : 2 * width], "little")
    named = raw[2 * width :]
    faulty = (
        len(raw) < 2 * width
        or len(named) != layout.FLOW_SLOTS.size * listed.bit_count()
        or not listed | whole
        or listed & whole
        or (listed | whole) & ~possible
    )
    if faulty:
        raise WireError(Fault.MALFORMED)
    flows = dict.fromkeys(buckets_of(whole), EVERY_FLOW_SLOT)
    for bucket, (flow_slots,) in zip(
        buckets_of(listed), layout.FLOW_SLOTS.iter_unpack(named), strict=True
    ):
        if flow_slots in {0, EVERY_FLOW_SLOT}:
            raise WireError(Fault.MALFORMED)
        flows[bucket] = flow_slots
    return tuple(sorted(flows.items()))


def _decode_grants(raw: bytes, total: int, nodes: list[int]) -> tuple[tuple[int, int], ...]:
    if not raw:
        return ()
    if raw[:1] == bytes((layout.PLAIN,)):
        runs = [(index, 1) for index in raw[1:]]
    elif len(raw) % 2 or len(raw) > 2 * total:
        raise WireError(Fault.MALFORMED)
    else:
        runs = [(raw[at], raw[at + 1] + 1) for at in range(0, len(raw), 2)]
    masks: dict[int, int] = {}
    bucket = 0
    for index, length in runs:
        if index >= len(nodes) or (index != layout.NO_GRANT and not nodes[index]):
            raise WireError(Fault.MALFORMED)
        if index != layout.NO_GRANT:
            masks[index] = masks.get(index, 0) | (1 << length) - 1 << bucket
        bucket += length
    if bucket != total:
        raise WireError(Fault.MALFORMED)
    return tuple((nodes[index], mask) for index, mask in sorted(masks.items()))
