"""Datagrams: what is said is what is heard, and nothing else is."""

from __future__ import annotations

import hmac
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.buckets import EVERY_FLOW_SLOT, buckets_of
from clusterip.core.lease.node import Node, NodeConfig
from clusterip.core.lease.timing import DEFAULT
from clusterip.core.messages import fields
from clusterip.core.messages.echoes import Echoes
from clusterip.core.messages.message import Heard, Message
from clusterip.core.messages.versions import Versions
from clusterip.core.messages.wire import (
    FRAME,
    MAX_DATAGRAM,
    MAX_ECHOES,
    MAX_GRACE,
    Codec,
    Fault,
    UnreadableError,
    WireError,
    flow_slots_that_fit,
)

KEYS = {1: b"one secret of many", 7: b"another secret of many"}
CLUSTER = 77
ID = st.integers(1, 2**64 - 1)
SEQUENCE = st.integers(1, 2**62 - 1)
STANDING = st.sampled_from([(False, False), (True, False), (True, True)])


def codec(total: int = 256, cluster: int = CLUSTER) -> Codec:
    return Codec(cluster, KEYS, 1, total)


@st.composite
def messages(draw: st.DrawFn, total: int) -> Message:
    nodes = draw(st.lists(ID, min_size=1, max_size=8, unique=True))
    want = draw(st.integers(0, 2**total - 1))
    free = 2**total - 1
    grants = []
    for node in draw(st.lists(st.sampled_from(nodes), max_size=4, unique=True)):
        mask = draw(st.integers(0, 2**total - 1)) & free
        free &= ~mask
        if mask:
            grants.append((node, mask))
    order = {node: i for i, node in enumerate(nodes)}
    heard = [Heard(node, draw(ID), draw(SEQUENCE), *draw(STANDING)) for node in nodes[1:]]
    if draw(st.booleans()):  # another incarnation of itself
        heard.append(Heard(nodes[0], draw(ID), draw(SEQUENCE), known=False, acknowledged=False))
    draining = draw(st.integers(0, 2**total - 1))
    flows = tuple(
        (bucket, draw(st.integers(1, 2**64 - 1)))
        for bucket in buckets_of(draining & draw(st.sampled_from([0, 0, 0b1011, 2**total - 1])))
    )
    return Message(
        sender=nodes[0],
        incarnation=draw(ID),
        sequence=draw(SEQUENCE),
        config=draw(ID),
        voters=draw(ID),
        previous=draw(st.integers(0, 2**64 - 1)),
        weight=draw(st.integers(0, 65535)),
        healthy=draw(st.booleans()),
        leaving=draw(st.booleans()),
        ready=draw(st.booleans()),
        grace=draw(st.integers(0, MAX_GRACE)),
        want=want,
        held=want & draw(st.integers(0, 2**total - 1)),
        draining=draining,
        heard=Echoes.said(heard),
        grants=tuple(sorted(grants, key=lambda grant: order[grant[0]])),
        flows=flows,
        seen_draining=draw(st.integers(0, 2**total - 1)),
    )


@given(st.data(), st.sampled_from([1, 7, 8, 64, 255, 256]))
def test_round_trip(data: st.DataObject, total: int) -> None:
    message = data.draw(messages(total))
    datagram = codec(total).encode(message)
    assert codec(total).decode(datagram) == message
    assert len(datagram) <= MAX_DATAGRAM


def full(nodes: int, total: int = 256, *, alternating: bool = True) -> Message:
    """Return the message of one of `nodes` that all hold their share, in turns or in a row."""
    echoes = tuple(Heard(node, node, node) for node in range(2, nodes + 1))
    owner = [i % nodes if alternating else i * nodes // total for i in range(total)]
    masks = [sum(1 << i for i, o in enumerate(owner) if o == node) for node in range(nodes)]
    return Message(
        1, 1, 1, 1, 1, want=masks[0], held=masks[0], heard=Echoes.said(echoes),
        grants=tuple((node + 1, masks[node]) for node in range(nodes)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "in_turns", "in_a_row"), [(3, 507, 256), (16, 819, 594), (32, 1203, 1010)]
)
def test_sizes(nodes: int, in_turns: int, in_a_row: int) -> None:
    assert len(codec().encode(full(nodes))) == in_turns
    assert len(codec().encode(full(nodes, alternating=False))) == in_a_row


@pytest.mark.parametrize("total", [1, 8, 64, 255, 256])
@pytest.mark.parametrize("nodes", [2, 3, 16, 32])
def test_the_largest_message_fits_in_a_frame(nodes: int, total: int) -> None:
    everything = (1 << total) - 1
    named = flow_slots_that_fit(total, nodes - 1)
    assert total > 64 or nodes > 3 or named >= total, "where few buckets are shared by few"
    flows = tuple(
        (bucket, bucket if bucket <= named else EVERY_FLOW_SLOT) for bucket in range(1, total + 1)
    )
    keys = (1 << 256) - 1
    largest = full(nodes, total)._replace(draining=everything, flows=flows, keys=keys)
    datagram = codec(total).encode(largest)
    assert len(datagram) <= FRAME
    assert codec(total).decode(datagram).keys == keys


@given(st.integers(0, 2**256 - 1) | st.integers(0, 255).map(lambda key: 1 << key))
def test_keys(keys: int) -> None:
    said = full(3)._replace(keys=keys)
    datagram = codec().encode(said)
    assert codec().decode(datagram) == said
    more = -(-keys.bit_length() // 8)
    assert len(datagram) == len(codec().encode(full(3))) + (more and more + 3)


@pytest.mark.parametrize("keys", [b"\0", b"\2\0", b"\1" * 33])
def test_keys_that_are_none(keys: bytes) -> None:
    body = codec().encode(full(3))[14:-32]
    sealed = codec()._seal.close(body + fields.encode({8: keys}))
    assert fault_of(sealed, codec()) is Fault.MALFORMED


def test_keys_are_left_out_where_a_message_has_no_room_for_them() -> None:
    everything = (1 << 256) - 1
    longest = full(MAX_ECHOES + 1)._replace(draining=everything, seen_draining=everything)
    datagram = codec().encode(longest._replace(keys=everything))
    assert FRAME - 35 < len(datagram) <= FRAME
    assert codec().decode(datagram) == longest


def test_what_does_not_fit_in_a_frame_is_read_all_the_same() -> None:
    everything = (1 << 256) - 1
    flows = tuple((bucket, bucket) for bucket in range(1, 257))
    largest = full(MAX_ECHOES + 1)._replace(draining=everything, flows=flows)
    datagram = codec().encode(largest)
    assert FRAME < len(datagram) <= MAX_DATAGRAM
    assert codec().decode(datagram) == largest


FLOWING = full(3, total=8)._replace(
    draining=0b1110, flows=((2, 5), (3, 1 << 63), (4, EVERY_FLOW_SLOT))
)
FLOWS = b"\x06\x08" + bytes(7) + b"\x05" + b"\x80" + bytes(7)


@pytest.mark.parametrize(
    "flow_slots",
    [
        b"\x06\x08" + bytes(8) + b"\x80" + bytes(7),  # none of bucket 2
        b"\x06\x08" + b"\xff" * 8 + b"\x80" + bytes(7),  # that is every flow slot
        b"\x06\x08" + bytes(7) + b"\x05",  # one too few
        b"\x02\x08" + bytes(7) + b"\x05" + bytes(7) + b"\x01",  # one too many
        # Bucket 1 does not drain; 5 neither; 2 has some flow slots or all.
        b"\x03\x08" + bytes(7) + b"\x05" + bytes(7) + b"\x01",
        b"\x06\x10" + bytes(7) + b"\x05" + b"\x80" + bytes(7),
        b"\x06\x0a" + bytes(7) + b"\x05" + b"\x80" + bytes(7),
        b"\x00\x00",
        b"\x00",
    ],
)
def test_flows(flow_slots: bytes) -> None:
    datagram = codec(8).encode(FLOWING)
    rest, said = datagram[: -32 - 18 - 3], datagram[-32 - 18 - 3 : -32]
    assert said == b"\x07\x00\x12" + FLOWS
    changed = resealed(rest + b"\x07" + len(flow_slots).to_bytes(2) + flow_slots + bytes(32))
    assert fault_of(changed, codec(8)) is Fault.MALFORMED


@given(st.data(), st.sampled_from([1, 8, 256]))
def test_what_a_later_release_adds_is_skipped(data: st.DataObject, total: int) -> None:
    """Fields, flags and the byte that is free: under a right MAC they change nothing here."""
    message = data.draw(messages(total))
    body = codec(total).encode(message)[14:-32]
    more = data.draw(st.dictionaries(st.integers(9, 255), st.binary(min_size=1, max_size=40)))
    flags = body[74] | data.draw(st.integers(0, 15)) << 4
    free = data.draw(st.integers(0, 255))
    grown = body[:74] + bytes((flags,)) + body[75:77] + bytes((free,)) + body[78:]
    sealed = codec(total)._seal.close(grown + fields.encode(more))
    assert codec(total).decode(sealed) == message


@given(messages(8), st.integers(1, 255), st.integers(1, 255), st.integers(1, 255))
def test_who_speaks_what_is_read_in_every_version(
    message: Message, lowest: int, version: int, highest: int
) -> None:
    speaks = Versions(lowest, highest)
    told = message._replace(version=version, speaks=speaks)
    datagram = codec(8).encode(told)
    if not lowest <= version <= highest:
        assert fault_of(datagram, codec(8)) is Fault.MALFORMED
    elif version == 1:
        assert codec(8).decode(datagram) == told
    else:
        with pytest.raises(UnreadableError) as caught:
            codec(8).decode(datagram)
        head = caught.value.head
        assert head[:6] == message[:6]
        assert (head.grace, head.clock) == (message.grace, message.clock)
        assert (head.version, head.speaks) == (version, speaks)
        both = Codec(CLUSTER, KEYS, 1, 8, Versions(1, version))
        assert both.decode(datagram) == told


def test_of_the_sender_itself_another_incarnation_is_heard_and_counts_for_nothing() -> None:
    other = Heard(1, 9, 9, known=False, acknowledged=False)
    twice = full(3)._replace(heard=Echoes.said((*full(3).heard, other)))
    datagram = codec().encode(twice)
    assert codec().decode(datagram) == twice
    for acknowledged in (False, True):
        known = other._replace(known=True, acknowledged=acknowledged)
        counts = twice._replace(heard=Echoes.said((*full(3).heard, known)))
        assert fault_of(codec().encode(counts), codec()) is Fault.MALFORMED
    # Nor can anything be granted to it: the index of its echo is 2 + 2.
    granted = resealed(datagram[:-33] + b"\x04" + datagram[-32:])
    assert fault_of(granted, codec()) is Fault.MALFORMED


def fault_of(datagram: bytes, reader: Codec) -> Fault:
    with pytest.raises(WireError) as caught:
        reader.decode(datagram)
    return caught.value.fault


def resealed(datagram: bytes, key: int = 1) -> bytes:
    """Return the datagram with a right MAC: what one who has the key may send."""
    return datagram[:-32] + hmac.digest(KEYS[key], datagram[:-32], "sha256")


def test_each_fault_has_its_reason() -> None:
    good = codec().encode(full(3))
    assert fault_of(b"", codec()) is Fault.TRUNCATED
    assert fault_of(good[:45], codec()) is Fault.TRUNCATED
    assert fault_of(good + bytes(MAX_DATAGRAM), codec()) is Fault.OVERSIZED
    assert fault_of(b"X" + good[1:], codec()) is Fault.MAGIC
    assert fault_of(good[:4] + b"\x00" + good[5:], codec()) is Fault.VERSION
    assert fault_of(resealed(good[:4] + b"\x02" + good[5:]), codec()) is Fault.MALFORMED
    assert fault_of(good, codec(cluster=78)) is Fault.CLUSTER
    assert fault_of(good[:5] + b"\x09" + good[6:], codec()) is Fault.KEY
    assert fault_of(good[:5] + b"\x07" + good[6:], codec()) is Fault.MAC
    assert fault_of(good[:-1], codec()) is Fault.MAC
    assert fault_of(resealed(good[:-40] + bytes(32)), codec()) is Fault.MALFORMED


def test_keys_are_changed_without_a_gap() -> None:
    old = Codec(CLUSTER, {1: KEYS[1]}, 1, 256)
    both = Codec(CLUSTER, KEYS, 1, 256)
    new = Codec(CLUSTER, KEYS, 7, 256)
    last = Codec(CLUSTER, {7: KEYS[7]}, 7, 256)
    for one, other in ((old, both), (both, new), (new, last)):
        assert other.decode(one.encode(full(3))) == full(3)
        assert one.decode(other.encode(full(3))) == full(3)
    assert fault_of(old.encode(full(3)), last) is Fault.KEY


def test_another_total_is_told_but_its_buckets_are_not() -> None:
    heard = codec(8).decode(codec(256).encode(full(3)))
    assert (heard.want, heard.held, heard.grants) == (0, 0, ())
    assert heard.heard == full(3).heard


@pytest.mark.parametrize(
    "bad",
    [
        full(3)._replace(sender=2**64),
        full(3)._replace(weight=65536),
        full(3)._replace(want=1 << 256),
        full(3)._replace(grace=MAX_GRACE + 1),
        full(3)._replace(grants=((9, 1),)),
        full(3)._replace(grants=((1, 1), (2, 1))),
        full(3)._replace(grants=((1, 1 << 256),)),
        full(MAX_ECHOES + 2, alternating=False),
        full(3)._replace(draining=1, flows=((2, 1),)),
        full(3)._replace(draining=1, flows=((1, 1 << 64),)),
        full(3)._replace(keys=1 << 256),
        full(3)._replace(keys=-1),
    ],
)
def test_what_cannot_be_said_is_refused(bad: Message) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec().encode(bad)


def test_weak_keys_are_refused() -> None:
    for keys, key, total in (({1: b"short"}, 1, 8), (KEYS, 2, 8), (KEYS, 1, 0), (KEYS, 1, 257)):
        with pytest.raises(ValueError, match=r"key|total"):
            Codec(CLUSTER, keys, key, total)


BATCH = 100_000


@pytest.mark.long
@pytest.mark.parametrize("batch", range(10))
def test_a_million_bad_datagrams_change_nothing(batch: int) -> None:
    """Garbage, truncated, mutated, and mutated under a right MAC: each is counted."""
    random = Random(batch)
    reader = codec()
    good = [
        reader.encode(full(n, alternating=a)._replace(sequence=9))
        for n in (3, 8)
        for a in (True, False)
    ]
    node = Node(NodeConfig(2, frozenset({1, 2, 3}), 1, 256, DEFAULT), incarnation=1, now=0)
    while node.next_action():
        pass
    before = repr(node.hand_over())
    counts: Counter[Fault] = Counter()
    kind, start = batch % 4, random.randrange(1 << 30)
    for i in range(BATCH):
        datagram = good[i & 3]
        at = (start + i * 7919) % len(datagram)
        if kind == 0:
            bad = random.randbytes(i % 1500)
        elif kind == 1:
            bad = datagram[:at]
        elif kind == 2:
            bad = datagram[:at] + bytes((datagram[at] ^ (1 + i % 255),)) + datagram[at + 1 :]
        else:
            bad = datagram + datagram[: 1 + at]
        try:
            reader.decode(bad)
        except WireError as error:
            counts[error.fault] += 1
    assert counts.total() == BATCH
    assert repr(node.hand_over()) == before


def test_who_has_the_key_and_errs_gets_a_reason_or_a_message() -> None:
    """No byte of a body under a right MAC leads to anything but a message or a WireError."""
    random = Random(1)
    reader = codec()
    good = [reader.encode(full(n, alternating=a)) for n in (1, 3, 32) for a in (False, True)]
    counts: Counter[Fault | None] = Counter()
    for i in range(12_000):
        raw = bytearray(good[i % len(good)])
        for _ in range(random.randint(1, 4)):
            raw[random.randrange(14, len(raw) - 32)] = random.randrange(256)
        if i % 5 == 0:
            del raw[random.randrange(46, len(raw)) :]
        if len(raw) < 46:
            continue
        try:
            message = reader.decode(resealed(bytes(raw)))
        except WireError as error:
            counts[error.fault] += 1
        else:
            counts[None] += 1
            assert reader.decode(reader.encode(message)) == message
    assert counts[Fault.MALFORMED] > 500
    assert counts[None] > 500


def test_that_it_was_told_to_stop_is_a_flag_of_its_own() -> None:
    """Release 0.1.0 leaves it alone, so nothing else may hang on it."""
    ends = full(3)._replace(ends=True)
    assert codec().decode(codec().encode(ends)) == ends
    plain, flagged = (codec().encode(one) for one in (full(3), ends))
    differs = [
        at for at, (a, b) in enumerate(zip(plain[:-32], flagged[:-32], strict=True)) if a != b
    ]
    assert len(differs) == 1
    assert plain[differs[0]] ^ flagged[differs[0]] == 8
