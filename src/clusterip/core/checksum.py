"""The checksum of the Internet protocols, RFC 1071."""

from __future__ import annotations

import struct


def checksum(content: bytes) -> int:
    """Return the checksum of `content`, which has an even length and zeros in its place."""
    total: int = sum(struct.unpack(f">{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
