"""SipHash-2-4: a MAC of 64 bits for short texts, which the kernel can reckon while a packet waits.

J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012. The packet path does the
same for three words (bpf/siphash.h).
"""

from __future__ import annotations

import struct
from typing import Final

KEY_BYTES: Final = 16

_WORD: Final = (1 << 64) - 1
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def siphash(key: bytes, text: bytes) -> int:
    """Return the hash, 0..2**64-1, of a text under a key of KEY_BYTES bytes."""
    low, high = struct.unpack("<QQ", key)
    v0, v1, v2, v3 = low ^ _START[0], high ^ _START[1], low ^ _START[2], high ^ _START[3]
    last = len(text) % 256 << 56 | int.from_bytes(text[len(text) & ~7 :], "little")
    whole = (word for (word,) in struct.iter_unpack("<Q", text[: len(text) & ~7]))
    for word in (*whole, last):
        v0, v1, v2, v3 = _rounds(2, v0, v1, v2, v3 ^ word)
        v0 ^= word
    v0, v1, v2, v3 = _rounds(4, v0, v1, v2 ^ 0xFF, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _rounds(count: int, v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    # Rotations are written out: a call costs more than what it does.
    for _ in range(count):
        v0, v2 = (v0 + v1) & _WORD, (v2 + v3) & _WORD
        v1 = (v1 << 13 | v1 >> 51) & _WORD ^ v0
        v3 = (v3 << 16 | v3 >> 48) & _WORD ^ v2
        v0, v2 = ((v0 << 32 | v0 >> 32) + v3) & _WORD, (v2 + v1) & _WORD
        v1 = (v1 << 17 | v1 >> 47) & _WORD ^ v2
        v3 = (v3 << 21 | v3 >> 43) & _WORD ^ v0
        v2 = (v2 << 32 | v2 >> 32) & _WORD
    return v0, v1, v2, v3
