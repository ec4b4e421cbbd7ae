"""Numbered fields after the fixed part of a body: how messages grow.

A reader skips the numbers that it does not know, and one that is missing is empty. A field is

    offset  bytes  meaning
    0       1      number, 1..255; they ascend
    1       2      length n of the value, big-endian, 1 or more
    3       n      value
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from clusterip.core.messages.envelope import Fault, WireError

_HEAD: Final = struct.Struct("!BH")
HEAD_BYTES: Final = _HEAD.size


def encode(fields: Mapping[int, bytes]) -> bytes:
    """Return them one after the other, without those that are empty.

    Raises struct.error for a number or a length out of range.
    """
    return b"".join(
        _HEAD.pack(number, len(value)) + value for number, value in sorted(fields.items()) if value
    )


def decode(raw: bytes) -> dict[int, bytes]:
    """Return all of them, by number; raises WireError for anything else."""
    return {number: raw[start:end] for number, (start, end) in places(raw).items()}


def places(raw: bytes) -> dict[int, tuple[int, int]]:
    """Return of all of them where the value begins and ends, by number; raises WireError."""
    found: dict[int, tuple[int, int]] = {}
    at, last = 0, 0
    while at < len(raw):
        if len(raw) - at < _HEAD.size:
            raise WireError(Fault.MALFORMED)
        number, length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        if number <= last or not 0 < length <= len(raw) - at:
            raise WireError(Fault.MALFORMED)
        found[number] = at, at + length
        at += length
        last = number
    return found
