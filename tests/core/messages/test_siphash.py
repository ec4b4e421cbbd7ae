"""SipHash-2-4 by the vectors that its authors published."""

from __future__ import annotations

import pytest

from clusterip.core.messages.siphash import siphash

KEY = bytes(range(16))


@pytest.mark.parametrize(
    ("length", "value"),
    [
        (0, 0x726FDB47DD0E0E31),
        (1, 0x74F839C593DC67FD),
        (7, 0xAB0200F58B01D137),
        (8, 0x93F5F5799A932462),
        (15, 0xA129CA6149BE45E5),
    ],
)
def test_the_published_vectors(length: int, value: int) -> None:
    """The texts are 00, 01, 02 and so on: appendix A of the paper, and its reference code."""
    assert siphash(KEY, bytes(range(length))) == value
