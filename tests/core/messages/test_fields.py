"""Numbered fields: what one writes the other reads, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.messages import fields
from clusterip.core.messages.envelope import Fault, WireError

FIELDS = st.dictionaries(st.integers(1, 255), st.binary(min_size=1, max_size=300), max_size=5)


@given(FIELDS)
def test_round_trip(values: dict[int, bytes]) -> None:
    raw = fields.encode(values)
    assert fields.decode(raw) == values
    assert len(raw) == sum(fields.HEAD_BYTES + len(value) for value in values.values())


def test_the_bytes_are_as_written() -> None:
    assert fields.encode({7: b"ab", 2: b"c", 3: b""}) == b"\x02\x00\x01c\x07\x00\x02ab"


@given(FIELDS, st.data())
def test_a_part_is_not_read(values: dict[int, bytes], data: st.DataObject) -> None:
    raw = fields.encode(values)
    cut = data.draw(st.integers(0, len(raw)))
    ends = {len(fields.encode(dict(sorted(values.items())[:count]))) for count in range(6)}
    if cut in ends:
        assert fields.decode(raw[:cut]).items() <= values.items()
    else:
        with pytest.raises(WireError):
            fields.decode(raw[:cut])


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x00\x01a",  # no number
        b"\x01\x00\x00",  # nothing in it
        b"\x01\x00\x01a\x01\x00\x01b",  # twice
        b"\x02\x00\x01a\x01\x00\x01b",  # not ascending
    ],
)
def test_what_is_no_field_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        fields.decode(raw)
    assert caught.value.fault is Fault.MALFORMED
