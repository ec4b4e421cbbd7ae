"""Frames of which most are plain (bpf/plain.h), and the others nearly so."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from clusterip.core.packets.state import InterfaceState
from tests.bpf.frames import MACS, FrameMaker, tagged

STRANGERS = (0, 0xFFFFFFFF, 0x7F000001)
FLAGS = (0x02, 0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0xC2, 0x00)
LEAST = 20  # bytes of transport: a header of TCP


class PlainMaker(FrameMaker):
    """Makes frames from a seed, for a given set of rules, to VIPs of both versions."""

    def __init__(self, rules: InterfaceState, seed: int) -> None:
        super().__init__(rules, seed)
        self._every = [group.vip for group in rules.groups]

    def frame(self) -> bytes:
        """Return a frame with at most a few oddities."""
        rnd = self._random
        vip = rnd.choice(self._every)
        if rnd.random() < 0.1:
            vip = self._near(vip)
        protocol = rnd.choice((6, 6, 6, 17, 17)) if rnd.random() < 0.95 else rnd.randrange(256)
        ports = struct.pack(">HH", self._pick(self._ports, 16), self._pick(self._ports, 16))
        body = rnd.randbytes(rnd.choice((0, 0, 1, 6, 20, 100)))
        if protocol == 6:
            # Some have options, and say so or not.
            offset = rnd.choice((0x50, 0x50, 0x80, 0xF0, 0x00))
            transport = ports + rnd.randbytes(8) + bytes((offset, rnd.choice(FLAGS)))
            transport += rnd.randbytes(6) + body
        else:
            transport = ports + rnd.randbytes(rnd.choice((4, 15, 16, 17, 36))) + body
        if isinstance(vip, IPv4Address):
            kind, least, packet = b"\x08\x00", 54, self._four(vip, protocol, transport)
        else:
            kind, least, packet = b"\x86\xdd", 74, self._six(vip, protocol, transport)
        if rnd.random() < 0.02:
            kind = rnd.choice((b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00", b"\x88\xa8"))
        frame = rnd.choice(MACS) + b"\x02\x00\x00\x00\x00\x09" + kind + packet
        return self._cut(frame, least)

    def _near(self, vip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
        """Return an address that is most likely no VIP."""
        if isinstance(vip, IPv6Address):
            return IPv6Address(int(vip) ^ 1 << self._random.randrange(128))
        other = int(vip) ^ 1 << self._random.randrange(32)
        return IPv4Address(self._random.choice((*STRANGERS, other)))

    def _length(self, least: int, real: int) -> int:
        """Return a length for a header to tell, of which less than `least` is too little."""
        odd = (0, least - 1, least, least + 1, real - 1, real + 1, 0xFFFF)
        return self._random.choice(odd) if self._random.random() < 0.2 else real

    def _four(self, vip: IPv4Address, protocol: int, transport: bytes) -> bytes:
        rnd = self._random
        first, fragment = 0x45, rnd.choice((0, 0x4000))
        chance = rnd.random()
        if chance < 0.05:
            first = rnd.choice((0x44, 0x46, 0x55, 0x65, 0x40))
        elif chance < 0.1:
            fragment = rnd.choice((0x2000, 0x0001, 0x1FFF, 0x8000, 0x3000))
        total = self._length(20 + LEAST, 20 + len(transport))
        header = struct.pack(
            *(">BBHHHBBH", first, rnd.randrange(256), total, rnd.randrange(65536), fragment, 64),
            *(protocol, 0),
        )
        source = self._pick(self._sources, 32).to_bytes(4, "big")
        return header + source + vip.packed + transport

    def _six(self, vip: IPv6Address, protocol: int, transport: bytes) -> bytes:
        rnd = self._random
        version = 6 if rnd.random() < 0.97 else rnd.choice((4, 5, 7))
        start = version << 28 | rnd.getrandbits(28)
        length = self._length(LEAST, len(transport))
        if rnd.random() < 0.03:
            protocol = rnd.choice((0, 43, 44, 58, 60))
        header = struct.pack(">IHBB", start, length, protocol, 64)
        return header + rnd.randbytes(16) + vip.packed + transport

    def _cut(self, frame: bytes, least: int) -> bytes:
        """Cut a frame near where all that is read of it ends, or pad it, or put a tag in."""
        chance = self._random.random()
        if chance < 0.06:
            return frame[: self._random.choice((least - 1, least, least + 1, 54, 53))]
        if chance < 0.4:
            return frame.ljust(60, b"\0")
        if chance < 0.43:
            return tagged(frame, self._random)
        return frame


def plain_frames(rules: InterfaceState, seed: int, count: int) -> Iterator[bytes]:
    """Yield that many frames."""
    maker = PlainMaker(rules, seed)
    for _ in range(count):
        yield maker.frame()
