"""Numbers in sentences."""

from __future__ import annotations

import pytest

from clusterip.core.words import amount, few, were


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 buckets"), (1, "1 bucket"), (2, "2 buckets"), (11, "11 buckets")]
)
def test_amount(number: int, words: str) -> None:
    assert amount(number, "bucket") == words


def test_were() -> None:
    assert [were(number) for number in (0, 1, 2)] == ["were", "was", "were"]


def test_few() -> None:
    assert few([]) == ""
    assert few("abcde") == "a, b, c, d, e"
    assert few(str(number) for number in range(1500)) == "0, 1, 2, 3, 4, …"
