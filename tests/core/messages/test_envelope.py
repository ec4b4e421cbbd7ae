"""The head and the MAC: what was closed with a key is opened, and nothing else is."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.messages.envelope import (
    MAX_DATAGRAM,
    OVERHEAD,
    Envelope,
    Fault,
    WireError,
    key_of,
)

KEYS = {1: b"one secret of many", 7: b"another secret of many"}
BODY = st.binary(max_size=MAX_DATAGRAM - OVERHEAD)


def seal(magic: bytes = b"TEST", cluster: int = 77) -> Envelope:
    return Envelope(magic, cluster, KEYS, 1)


def fault_of(datagram: bytes, reader: Envelope) -> Fault:
    with pytest.raises(WireError) as caught:
        reader.open(datagram)
    return caught.value.fault


@given(BODY)
def test_round_trip(body: bytes) -> None:
    datagram = seal().close(body)
    assert len(datagram) == len(body) + OVERHEAD
    assert seal().open(datagram) == (1, body)
    assert seal().open(seal().close(body, version=9)) == (9, body)


def test_the_bytes_are_as_written() -> None:
    head = b"TEST" + bytes([1, 1]) + (77).to_bytes(8, "big")
    assert seal().close(b"body") == head + b"body" + hmac.digest(KEYS[1], head + b"body", "sha256")


@pytest.mark.parametrize("key", [1, 7])
def test_which_key_it_is_sealed_with(key: int) -> None:
    assert key_of(Envelope(b"TEST", 77, KEYS, key).close(b"body")) == key


def test_the_longest_body() -> None:
    longest = bytes(MAX_DATAGRAM - OVERHEAD)
    assert len(seal().close(longest)) == MAX_DATAGRAM
    with pytest.raises(ValueError, match="4001 bytes exceeds 4000"):
        seal().close(longest + b"x")


def test_each_fault_has_its_reason() -> None:
    good = seal().close(b"body")
    assert fault_of(good[: OVERHEAD - 1], seal()) is Fault.TRUNCATED
    assert fault_of(bytes(MAX_DATAGRAM + 1), seal()) is Fault.OVERSIZED
    assert fault_of(good, seal(magic=b"ELSE")) is Fault.MAGIC
    assert fault_of(good[:4] + b"\x00" + good[5:], seal()) is Fault.VERSION
    assert fault_of(good, seal(cluster=78)) is Fault.CLUSTER
    assert fault_of(good[:5] + b"\x09" + good[6:], seal()) is Fault.KEY
    assert fault_of(good[:5] + b"\x07" + good[6:], seal()) is Fault.MAC
    assert fault_of(good[:-1], seal()) is Fault.MAC


def test_one_kind_does_not_pass_for_another() -> None:
    """Who changes the magic does not have the MAC that goes with it."""
    good = seal().close(b"body")
    assert fault_of(b"ELSE" + good[4:], seal(magic=b"ELSE")) is Fault.MAC


@given(BODY, st.data())
def test_no_bit_can_be_changed(body: bytes, data: st.DataObject) -> None:
    datagram = bytearray(seal().close(body))
    bit = data.draw(st.integers(0, 8 * len(datagram) - 1))
    datagram[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        seal().open(bytes(datagram))


@given(BODY, st.data())
def test_no_part_passes(body: bytes, data: st.DataObject) -> None:
    datagram = seal().close(body)
    with pytest.raises(WireError):
        seal().open(datagram[: data.draw(st.integers(0, len(datagram) - 1))])


@pytest.mark.parametrize(
    ("magic", "cluster", "keys", "key"),
    [
        (b"TES", 77, KEYS, 1),
        (b"TEST", 0, KEYS, 1),
        (b"TEST", 1 << 64, KEYS, 1),
        (b"TEST", 77, KEYS, 2),
        (b"TEST", 77, {1: b"short"}, 1),
        (b"TEST", 77, {256: bytes(32)}, 256),
    ],
)
def test_what_is_no_seal_is_refused(
    magic: bytes, cluster: int, keys: dict[int, bytes], key: int
) -> None:
    with pytest.raises(ValueError, match=r"magic|key"):
        Envelope(magic, cluster, keys, key)
