"""Sets of buckets as numbers and as text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.buckets import buckets_of, spans
from clusterip.core.messages.echoes import Echoes
from clusterip.core.messages.message import Heard, Message, digest_of_name

MASKS = st.integers(0, (1 << 256) - 1)


@given(MASKS)
def test_the_numbers_of_a_mask(mask: int) -> None:
    assert list(buckets_of(mask)) == [n for n in range(1, 257) if mask >> n - 1 & 1]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], "none"),
        ([1], "1"),
        ([1, 2], "1-2"),
        ([1, 3], "1,3"),
        ([1, 2, 3, 4, 7], "1-4,7"),
        ([1, 3, 4, 256], "1,3-4,256"),
        (range(1, 257), "1-256"),
    ],
)
def test_spans(numbers: list[int], text: str) -> None:
    assert spans(numbers) == text


@given(MASKS)
def test_spans_say_each_number_once_and_in_as_few_parts_as_can_be(mask: int) -> None:
    text = spans(buckets_of(mask))
    parts = [] if text == "none" else [list(map(int, one.split("-"))) for one in text.split(",")]
    said = [n for part in parts for n in range(part[0], part[-1] + 1)]
    assert said == list(buckets_of(mask))
    assert all(one[-1] + 1 < other[0] for one, other in pairwise(parts))


def test_what_a_message_says_of_a_node() -> None:
    message = Message(
        1, 10, 5, 1, 1, heard=Echoes.said((Heard(2, 20, 7),)), grants=((2, 0b11), (1, 0b100))
    )
    assert message.heard_of(2, 20) == 7
    assert message.heard_of(2, 21) == 0
    assert message.heard_of(3, 30) == 0
    assert (message.granted_to(2), message.granted_to(3)) == (0b11, 0)


def test_names_have_ids_of_their_own() -> None:
    ids = [digest_of_name(name) for name in ("web1", "web2", "Web1", "")]
    assert len(set(ids)) == 4
    assert all(0 < one < 1 << 64 for one in ids)
