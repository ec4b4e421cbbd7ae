"""`core.packets.hashing.bucket` for millions of packets; needs NumPy (`clusterip[numpy]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from clusterip.core.packets.hashing import JHASH_INITVAL, check_parameters

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Words = NDArray[np.uint32]

# Packets hashed at a time: the dozen arrays in use then stay in the processor's cache.
_BLOCK: Final = 1 << 14


def buckets(
    hashmode: str,
    total_nodes: int,
    hash_init: int,
    sources: ArrayLike,
    source_ports: ArrayLike = 0,
    destination_ports: ArrayLike = 0,
) -> NDArray[np.uint16]:
    """Return the bucket, 1..`total_nodes`, of each packet; `bucket` for arrays.

    `sources` are IPv4 addresses as numbers in host order (0..4294967295), ports numbers in host
    order (0..65535), both of any integer type; they broadcast against each other and the result
    has the shape they broadcast to. `hashmode`, `total_nodes` (1..256) and `hash_init`
    (0..4294967295) are the same for all packets. Raises ValueError for a value out of range or
    shapes that do not fit, TypeError for an array that does not hold integers; both name it.
    """
    mode = check_parameters(hashmode, total_nodes, hash_init)
    fields = (
        _checked("sources", sources, np.uint32),
        _checked("source_ports", source_ports, np.uint16),
        _checked("destination_ports", destination_ports, np.uint16),
    )
    try:
        shape = np.broadcast_shapes(*(field.shape for field in fields))
    except ValueError as error:
        shapes = ", ".join(str(field.shape) for field in fields)
        raise ValueError(f"sources and ports have shapes that do not fit: {shapes}") from error
    initial = np.uint32((hash_init + JHASH_INITVAL + (mode.words << 2)) & 0xFFFFFFFF)
    flat = [np.broadcast_to(field, shape).reshape(-1) for field in fields[: mode.words]]
    result = np.empty(shape, np.uint16)
    out = result.reshape(-1)
    for start in range(0, out.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        words = [_word(field[block]) for field in flat]
        if mode.raw:
            words[0] = words[0].byteswap()
        words += [np.zeros_like(words[0])] * (3 - len(words))
        hashed = _final(*(word + initial for word in words))
        out[block] = (hashed.astype(np.uint64) * np.uint64(total_nodes) >> np.uint64(32)) + 1
    return result


def _checked(
    name: str, values: ArrayLike, kind: type[np.unsignedinteger]
) -> NDArray[np.unsignedinteger]:
    array = np.asarray(values)
    if array.dtype.kind not in "ui" and array.size:
        raise TypeError(f"{name} must be integers, not {array.dtype}")
    highest = np.iinfo(kind).max
    if array.size and not (array.min() >= 0 and array.max() <= highest):
        raise ValueError(f"{name} must be in 0..{highest}")
    return array.astype(kind, copy=False)


def _word(field: NDArray[np.unsignedinteger]) -> Words:
    """Return a field as the hash reads it: ports as their bytes on the wire read little-endian."""
    if field.dtype == np.uint16:
        return (field << np.uint16(8) | field >> np.uint16(8)).astype(np.uint32)
    return field.astype(np.uint32, copy=False)


def _rol(word: Words, shift: int) -> Words:
    return word << np.uint32(shift) | word >> np.uint32(32 - shift)


def _final(a: Words, b: Words, c: Words) -> Words:
    """Mix three words into the hash, modulo 2**32: __jhash_final of include/linux/jhash.h.

    The arrays given are overwritten.
    """
    c ^= b
    c -= _rol(b, 14)
    a ^= c
    a -= _rol(c, 11)
    b ^= a
    b -= _rol(a, 25)
    c ^= b
    c -= _rol(b, 16)
    a ^= c
    a -= _rol(c, 4)
    b ^= a
    b -= _rol(a, 14)
    c ^= b
    c -= _rol(b, 24)
    return c
