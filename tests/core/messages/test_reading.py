"""Messages that are like the one before: they are read as any other, and the rest is not read."""

from __future__ import annotations

import pytest

from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.messages.envelope import Fault, WireError
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import Codec

KEYS = {1: bytes(32)}
FIRST = Message(
    1, 10, 5, 77, 88, weight=3, want=0b11, held=0b01,
    heard=Echoes.said((Heard(2, 20, 7), Heard(3, 30, 9, acknowledged=False))),
    grants=((1, 0b01), (2, 0b100)), clock=1000, keys=0b10,
)  # fmt: skip
OTHERS = (
    FIRST._replace(sequence=6, clock=2000),
    FIRST._replace(
        heard=Echoes.said((Heard(2, 20, 8), Heard(3, 30, 2**62 - 1, acknowledged=False)))
    ),
    FIRST._replace(heard=Echoes.said((Heard(2, 20, 8), Heard(3, 30, 9)))),
    FIRST._replace(heard=Echoes.said((Heard(2, 20, 8), Heard(3, 31, 9)))),
    FIRST._replace(heard=Echoes.said((Heard(2, 20, 8), Heard(4, 30, 9)))),
    FIRST._replace(heard=Echoes.said((Heard(2, 20, 8),))),
    FIRST._replace(incarnation=11),
    FIRST._replace(sender=9, grants=()),
    FIRST._replace(weight=4),
    FIRST._replace(grace=1),
    FIRST._replace(want=0b111),
    FIRST._replace(grants=()),
    FIRST._replace(keys=0b110),
    FIRST._replace(config=78),
)


def codec() -> Codec:
    return Codec(9, KEYS, 1, 12)


@pytest.mark.parametrize("other", OTHERS)
def test_what_follows_is_read_as_if_it_were_the_first(other: Message) -> None:
    reader, sealed = codec(), codec().encode(other)
    assert reader.decode(codec().encode(FIRST)) == FIRST
    assert reader.decode(sealed) == other == codec().decode(sealed)
    assert reader.decode(codec().encode(FIRST)) == FIRST


def test_what_is_as_before_is_the_same() -> None:
    reader = codec()
    first = reader.decode(codec().encode(FIRST))
    again = reader.decode(codec().encode(OTHERS[1]))
    assert again.heard.of is first.heard.of
    assert again.grants is first.grants


def test_a_sequence_out_of_range_is_refused_behind_a_good_one() -> None:
    reader = codec()
    reader.decode(codec().encode(FIRST))
    body = codec()._seal.open(codec().encode(FIRST)).body
    faulty = body[:16] + bytes(8) + body[24:]
    with pytest.raises(WireError) as refused:
        reader.decode(codec()._seal.close(faulty))
    assert refused.value.fault is Fault.MALFORMED


def test_many_senders_are_read() -> None:
    reader = codec()
    for sender in (*range(10, 200), *range(10, 20)):
        one = FIRST._replace(sender=sender, grants=())
        assert reader.decode(codec().encode(one)) == one
