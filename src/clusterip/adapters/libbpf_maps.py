"""Maps of other kinds than plain arrays: per-CPU ones, and hash maps; OSError as in `libbpf`."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

from clusterip.adapters import libbpf

_SPARE_ENTRIES: Final = 4096
"""An LRU map has room for some more than it says, by the number of processors."""


def lookup_counters(fd: int, key: int) -> list[bytes]:
    """Read an element of a per-CPU map: what each possible CPU has there."""
    size = libbpf.map_info(fd).value_size
    raw = libbpf.lookup(fd, key, _stride(fd) * libbpf.possible_cpus())
    return [raw[at : at + size] for at in range(0, len(raw), _stride(fd))]


def zero_counters(fd: int, key: int) -> None:
    """Set an element of a per-CPU map to 0."""
    libbpf.update(fd, key, bytes(_stride(fd) * libbpf.possible_cpus()))


def _stride(fd: int) -> int:
    """Return how far apart the values of a per-CPU map's element are."""
    return -(-int(libbpf.map_info(fd).value_size) // 8) * 8


def entries(fd: int) -> dict[bytes, bytes]:
    """Return all that a hash map has."""
    info, count = libbpf.map_info(fd), ctypes.c_uint32(0)
    room = info.max_entries + _SPARE_ENTRIES
    keys = ctypes.create_string_buffer(room * info.key_size)
    values = ctypes.create_string_buffer(room * info.value_size)
    count.value = room
    # The end of the map is what it says where it has no more; what it found it says then, too.
    with contextlib.suppress(FileNotFoundError):
        place = ctypes.c_uint64()
        libbpf.call(
            "bpf_map_lookup_batch", fd, None, ctypes.byref(place), keys, values,
            ctypes.byref(count), None,
        )  # fmt: skip

    def at(buffer: ctypes.Array[ctypes.c_char], size: int, number: int) -> bytes:
        return ctypes.string_at(ctypes.byref(buffer, number * size), size)

    return {
        at(keys, info.key_size, one): at(values, info.value_size, one) for one in range(count.value)
    }


def get(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Read an element of a hash map, None if it has none."""
    value = ctypes.create_string_buffer(value_size)
    try:
        libbpf.call("bpf_map_lookup_elem", fd, key, value)
    except FileNotFoundError:
        return None
    return value.raw


def put(fd: int, key: bytes, value: bytes | None) -> None:
    """Write an element of a hash map; None removes it."""
    if value is not None:
        libbpf.call("bpf_map_update_elem", fd, key, value, 0)
        return
    with contextlib.suppress(FileNotFoundError):
        libbpf.call("bpf_map_delete_elem", fd, key)
