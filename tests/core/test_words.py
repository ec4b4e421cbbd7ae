"""Numbers in sentences."""

from __future__ import annotations

import pytest

from clusterip.core.words import amount


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 buckets"), (1, "1 bucket"), (2, "2 buckets"), (11, "11 buckets")]
)
def test_amount(number: int, words: str) -> None:
    assert amount(number, "bucket") == words
