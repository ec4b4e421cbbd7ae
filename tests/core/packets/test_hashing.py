"""The hash, three times over, against what ipt_CLUSTERIP of Linux 6.1 chose."""

from __future__ import annotations

import csv
import ctypes
import importlib.util
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clusterip
from clusterip import bucket, buckets
from clusterip.adapters.abi import HASHMODES
from clusterip.core.packets.hashing import HashMode, bucket_of, jhash, wire_port

if TYPE_CHECKING:
    from collections.abc import Callable

    InC = Callable[[str, int, int, int, int, int], int]

ROOT = Path(__file__).parents[3]
VECTORS = sorted((ROOT / "tests" / "vectors").glob("*.csv"))
MODES = [mode.value for mode in HashMode]
WRAPPER = """
#include "hash.h"
unsigned host_bucket(unsigned mode, unsigned total, unsigned init, unsigned source,
                     unsigned source_port, unsigned destination_port)
{
    unsigned source_be[4] = { __builtin_bswap32(source) };
    unsigned hash = mode < CI_XT_CLUSTER
        ? ci_hash(mode, init, source, source_port, destination_port)
        : ci_hash_raw(mode, 4, init, source_be);
    return ci_bucket(hash, total) + 1;
}
"""

WORD = st.integers(0, 0xFFFFFFFF)
PORT = st.integers(0, 0xFFFF)
TOTAL = st.integers(1, 256)
MODE = st.sampled_from(MODES)


def rows() -> list[dict[str, str]]:
    return [row for path in VECTORS for row in csv.DictReader(path.read_text().splitlines())]


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> InC:
    folder = tmp_path_factory.mktemp("hash")
    source, library = folder / "hash.c", folder / "hash.so"
    source.write_text(WRAPPER)
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{ROOT / 'bpf'}"]
    subprocess.run(["cc", *flags, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).host_bucket
    function.argtypes = (ctypes.c_uint,) * 6
    function.restype = ctypes.c_uint

    def call(mode: str, total: int, init: int, source: int, sport: int, dport: int) -> int:
        number = HASHMODES[HashMode(mode)]
        chosen: int = function(number, total, init, source, wire_port(sport), wire_port(dport))
        return chosen

    return call


def test_all_vectors_are_there() -> None:
    assert len(rows()) == 2772


def test_vectors_through_bucket() -> None:
    for row in rows():
        got = bucket(
            row["hashmode"],
            int(row["total_nodes"]),
            int(row["hash_init"]),
            row["src"],
            int(row["sport"]),
            int(row["dport"]),
        )
        assert got == int(row["node"]), row


def test_vectors_through_c(in_c: InC) -> None:
    for row in rows():
        got = in_c(
            row["hashmode"],
            int(row["total_nodes"]),
            int(row["hash_init"]),
            int(IPv4Address(row["src"])),
            int(row["sport"]),
            int(row["dport"]),
        )
        assert got == int(row["node"]), row


def test_vectors_through_buckets() -> None:
    groups: dict[tuple[str, int, int], list[dict[str, str]]] = {}
    for row in rows():
        key = (row["hashmode"], int(row["total_nodes"]), int(row["hash_init"]))
        groups.setdefault(key, []).append(row)
    for key, members in groups.items():
        got = buckets(
            *key,
            np.array([int(IPv4Address(row["src"])) for row in members], np.uint32),
            np.array([int(row["sport"]) for row in members], np.uint16),
            np.array([int(row["dport"]) for row in members], np.uint16),
        )
        assert got.dtype == np.uint16
        assert got.tolist() == [int(row["node"]) for row in members]


@given(mode=MODE, total=TOTAL, init=WORD, source=WORD, sport=PORT, dport=PORT)
def test_the_three_agree(
    in_c: InC, mode: str, total: int, init: int, source: int, sport: int, dport: int
) -> None:
    chosen = bucket(mode, total, init, str(IPv4Address(source)), sport, dport)
    assert 1 <= chosen <= total
    assert in_c(mode, total, init, source, sport, dport) == chosen
    assert buckets(mode, total, init, source, sport, dport).item() == chosen
    assert bucket_of(HashMode(mode), total, init, source, sport, dport) == chosen


@given(
    mode=MODE,
    total=TOTAL,
    init=WORD,
    packets=st.lists(st.tuples(WORD, PORT, PORT), max_size=50),
)
def test_arrays_agree_with_one_by_one(
    mode: str, total: int, init: int, packets: list[tuple[int, int, int]]
) -> None:
    columns = list(zip(*packets, strict=True)) or [(), (), ()]
    got = buckets(mode, total, init, *columns)
    assert got.tolist() == [bucket_of(HashMode(mode), total, init, *packet) for packet in packets]


def test_long_arrays_are_hashed_to_the_end() -> None:
    sources = np.arange(100_001, dtype=np.uint32)
    got = buckets("sourceip", 7, 3, sources)
    assert [got[at] for at in (0, 16_383, 16_384, 100_000)] == [
        bucket_of(HashMode.SOURCEIP, 7, 3, at) for at in (0, 16_383, 16_384, 100_000)
    ]


def test_arrays_broadcast() -> None:
    sources = np.array([[1], [2]], np.uint32)
    got = buckets("sourceip-sourceport", 16, 0, sources, np.array([5, 6, 7], np.uint16))
    assert got.tolist() == [
        [bucket_of(HashMode.SOURCEIP_SOURCEPORT, 16, 0, source, port) for port in (5, 6, 7)]
        for source in (1, 2)
    ]


def test_a_fixed_source_is_left_as_it_was() -> None:
    sources = np.array([1, 2, 3], np.uint32)
    buckets("sourceip", 4, 0, sources)
    assert sources.tolist() == [1, 2, 3]


def test_unused_fields_do_not_count() -> None:
    assert bucket("sourceip", 16, 1, "192.0.2.1", 5, 6) == bucket("sourceip", 16, 1, "192.0.2.1")


def test_ports_are_read_as_a_little_endian_host_reads_the_wire() -> None:
    assert wire_port(0x1234) == int.from_bytes((0x1234).to_bytes(2, "big"), "little")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bogus", 2, 0, "192.0.2.1"), "unknown hashmode 'bogus'"),
        (("sourceip", 0, 0, "192.0.2.1"), "total_nodes 0 is not in 1..256"),
        (("sourceip", 257, 0, "192.0.2.1"), "total_nodes 257 is not in 1..256"),
        (("sourceip", 2, -1, "192.0.2.1"), "hash_init -1 is not in 0..4294967295"),
        (("sourceip", 2, 1 << 32, "192.0.2.1"), "hash_init 4294967296 is not in"),
        (("sourceip", 2, 0, "2001:db8::1%eth0"), "source '2001:db8::1%eth0' is not an IP address"),
        (("sourceip", 2, 0, "192.0.2"), "source '192.0.2' is not an IP address"),
        (("sourceip", 2, 0, "192.0.2.1", 65536), "source_port 65536 is not in 0..65535"),
        (("sourceip", 2, 0, "192.0.2.1", 0, -1), "destination_port -1 is not in 0..65535"),
    ],
)
def test_bucket_refuses(arguments: tuple[str, int, int, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bucket(*arguments)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (([-1],), ValueError, "sources must be in 0..4294967295"),
        (([1 << 32],), ValueError, "sources must be in 0..4294967295"),
        (([1.5],), TypeError, "sources must be integers, not float64"),
        (([True],), TypeError, "sources must be integers, not bool"),
        ((["192.0.2.1"],), TypeError, "sources must be integers"),
        (([1], [65536]), ValueError, "source_ports must be in 0..65535"),
        (([1], [1], [-5]), ValueError, "destination_ports must be in 0..65535"),
        (([1, 2], [1, 2, 3]), ValueError, r"shapes that do not fit: \(2,\), \(3,\), \(\)"),
    ],
)
def test_buckets_refuses(
    fields: tuple[list[int], ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        buckets("sourceip-sourceport-destport", 4, 0, *fields)


def test_buckets_checks_parameters() -> None:
    with pytest.raises(ValueError, match="total_nodes 0 is not in"):
        buckets("sourceip", 0, 0, [1])


def test_numpy_is_loaded_only_when_asked_for() -> None:
    program = (
        "import sys, clusterip; assert 'numpy' not in sys.modules; "
        "clusterip.buckets; assert 'numpy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_numpy_the_error_names_the_cure() -> None:
    program = "import sys; sys.modules['numpy'] = None; from clusterip import buckets"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: clusterip.buckets needs NumPy: pip install clusterip[numpy]"


def test_the_package_offers_what_it_says() -> None:
    assert importlib.util.find_spec("clusterip") is not None
    for name in clusterip.__all__:
        assert getattr(clusterip, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = clusterip.nothing


def test_ipv6_is_hashed_by_lookup3() -> None:
    # The words that a little-endian host hashes with jhash2() of include/linux/jhash.h.
    assert jhash((0x20010DB8, 0, 0, 0), 0) == lookup3((0x20010DB8, 0, 0, 0), 0)
    words = tuple(range(1, 7))
    assert jhash(words, 1234) == lookup3(words, 1234)


def lookup3(words: tuple[int, ...], init: int) -> int:
    """hashword() of Bob Jenkins' lookup3.c, line by line."""
    mask = 0xFFFFFFFF

    def rot(word: int, by: int) -> int:
        return (word << by | word >> (32 - by)) & mask

    a = b = c = (0xDEADBEEF + (len(words) << 2) + init) & mask
    left = list(words)
    while len(left) > 3:
        a, b, c = (a + left[0]) & mask, (b + left[1]) & mask, (c + left[2]) & mask
        a = ((a - c) & mask) ^ rot(c, 4)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ rot(a, 6)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ rot(b, 8)
        b = (b + a) & mask
        a = ((a - c) & mask) ^ rot(c, 16)
        c = (c + b) & mask
        b = ((b - a) & mask) ^ rot(a, 19)
        a = (a + c) & mask
        c = ((c - b) & mask) ^ rot(b, 4)
        b = (b + a) & mask
        left = left[3:]
    a, b, c = ((one + word) & mask for one, word in zip((a, b, c), (*left, 0, 0), strict=False))
    for target, other, by in zip("cabcabc", "bcabcab", (14, 11, 25, 16, 4, 14, 24), strict=True):
        values = {"a": a, "b": b, "c": c}
        values[target] = ((values[target] ^ values[other]) - rot(values[other], by)) & mask
        a, b, c = values["a"], values["b"], values["c"]
    return c


def test_an_ipv6_network_has_one_bucket() -> None:
    ends = [f"2001:db8::{last:x}" for last in range(200)]
    assert len({bucket("sourceip", 256, 7, end) for end in ends}) == 1
    assert len({bucket("sourceip", 256, 7, end, source_prefix6=128) for end in ends}) > 100
    with pytest.raises(ValueError, match=r"source_prefix6 129 is not in 1\.\.128"):
        bucket("sourceip", 256, 7, "::1", source_prefix6=129)
