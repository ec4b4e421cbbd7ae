"""A flood of TCP SYNs to the VIP, each from another address and port, as fast as one core can.

Made by an XDP program of packets.bpf.c and BPF_F_TEST_XDP_LIVE_FRAMES: frame and receiver are real,
and the receiver's work is done by the thread that sends. `python -m bench.flood ORDER` is the
worker (see `lab.worker`) that sends at a given rate.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from bench.filters import interface, own_processor, programs
from clusterip.adapters import libbpf
from lab.topology import CLUSTER_MAC, VIP
from lab.worker import Order, Worker

if TYPE_CHECKING:
    from bench.filters import Place

_SOURCE: Final = "198.18.0.1"
_SHORTEST: Final = 60  # of an Ethernet frame, its checksum not counted
_TICK: Final = 0.05
"""Seconds from burst to burst: for each, the kernel waits some 20 ms to exchange the program."""


def segment(
    vip: str = VIP,
    *,
    port: int = 80,
    source: str = _SOURCE,
    source_port: int = 20000,
    flags: int = 2,
    mac: str = CLUSTER_MAC,
) -> bytes:
    """Return a frame with a TCP segment, by default a SYN, its checksums right."""
    ends = _address(source) + _address(vip)
    tcp = struct.pack(">HHIIBBHHH", source_port, port, 1, 0, 5 << 4, flags, 1024, 0, 0)
    check = checksum(ends + struct.pack(">HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + check + tcp[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends
    ip = ip[:10] + checksum(ip) + ip[12:]
    ethernet = bytes.fromhex(mac.replace(":", "") + "020000000101" + "0800")
    return (ethernet + ip + tcp).ljust(_SHORTEST, b"\0")


def segment6(vip: str, *, port: int = 80, flags: int = 2) -> bytes:
    """Return a frame with a TCP segment over IPv6; nobody checks its checksum, which is 0."""
    tcp = struct.pack(">HHIIBBHHH", 20000, port, 1, 0, 5 << 4, flags, 1024, 0, 0)
    ends = IPv6Address("2001:db8::9").packed + IPv6Address(vip).packed
    ethernet = bytes.fromhex(CLUSTER_MAC.replace(":", "") + "020000000101" + "86dd")
    return ethernet + struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    words = sum(struct.unpack(f">{len(data) // 2}H", data))
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return struct.pack(">H", ~words & 0xFFFF)


def _address(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


def send(place: Place, count: int, mac: str = CLUSTER_MAC) -> float:
    """Send that many frames to the host of a place, or to what has that MAC there.

    Returns the seconds of processor time that sending and receiving took, and raises
    RuntimeError unless all of them came to the host's interface.
    """

    def inside() -> float:
        own_processor()
        program = programs().program_fd("bench_flood")
        began = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
        libbpf.send_frames(program, segment(mac=mac), count, interface())
        return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - began

    before = place.seen()
    seconds = place.pair.client.call(inside)
    if (came := place.seen().since(before).frames) != count:
        raise RuntimeError(f"{place.filter.name}: {count} frames were sent and {came} received")
    return seconds


class Flood:
    """A running flood of a place's host, of `rate` frames a second."""

    def __init__(self, place: Place, rate: int) -> None:
        self._worker = Worker(place.pair.client, "bench.flood", rate=rate, mac=place.mac)
        self._worker.wait_ready()

    def stop(self) -> tuple[int, float]:
        """End it; returns how many frames were sent, and in how many seconds."""
        (found,) = self._worker.stop(within=10.0)
        return found["sent"], found["seconds"]


def main() -> None:
    """Send until told to finish."""
    order = Order()
    burst = max(1, int(order.values["rate"] * _TICK))
    program, index = programs().program_fd("bench_flood"), interface()
    frame = segment(mac=order.values["mac"])
    own_processor()
    # As a network card's interrupts do, it goes before all programs.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    order.ready()
    sent, began = 0, time.monotonic()
    due = began
    while not order.finishing:
        with contextlib.suppress(InterruptedError):  # told to finish in the midst of a burst
            libbpf.send_frames(program, frame, burst, index)
            sent += burst
        due = max(due + _TICK, time.monotonic() - _TICK)
        time.sleep(max(0.0, due - time.monotonic()))
    order.write([{"sent": sent, "seconds": time.monotonic() - began}])


if __name__ == "__main__":
    main()
