"""The flood: what it sends must be taken by a stack, or nothing is measured."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from bench.filters import programs
from bench.flood import segment
from clusterip.adapters import libbpf

XDP_TX = 3


def is_whole(frame: bytes) -> Ether:
    """Assert that both checksums are those that scapy computes; returns the frame taken apart."""
    told = Ether(frame)
    again = Ether(frame)
    del again[IP].chksum, again[TCP].chksum
    computed = Ether(bytes(again))
    assert told[IP].chksum == computed[IP].chksum
    assert told[TCP].chksum == computed[TCP].chksum
    return told


def test_a_segment() -> None:
    told = is_whole(segment("10.9.0.100", port=81, source="10.9.1.2", source_port=7, flags=0x10))
    assert (told[IP].src, told[IP].dst) == ("10.9.1.2", "10.9.0.100")
    assert (told[TCP].sport, told[TCP].dport, told[TCP].flags) == (7, 81, "A")


def test_every_frame_is_from_somebody_else_and_whole() -> None:
    program, frame, sources = programs().program_fd("bench_flood"), segment(), set()
    for _ in range(200):
        action, frame = libbpf.run_program(program, frame)
        assert action == XDP_TX
        told = is_whole(frame)
        assert ip_address(told[IP].src) in ip_network("198.18.0.0/15")
        sources.add((told[IP].src, told[TCP].sport))
    assert len(sources) > 190
