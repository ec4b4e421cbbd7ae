"""Frames at random: mostly near the rules, often odd, sometimes broken."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, TypeVar

from clusterip.core.packets.state import InterfaceState

if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

T = TypeVar("T")

MACS = (b"\x01\x00\x5e\x00\x00\x20", b"\x02\x00\x00\x00\x00\x01", b"\xff" * 6)
PROTOCOLS = (6, 6, 6, 17, 17, 136, 132, 33, 50, 51, 1, 2, 47, 0, 4, 41, 255)
TAGS = (0x8100, 0x8100, 0x88A8, 0x9100)
ETHERTYPES = (0x0806, 0x86DD, 0x8100, 0x88A8, 0x0801, 0x0008, 0x8847)


class Dice(random.Random):
    """Is thrown millions of times, so quicker, and as fair as frames need it."""

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[int(self.random() * len(seq))]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        first, end = (0, start) if stop is None else (start, stop)
        return first + step * int(self.random() * ((end - first + step - 1) // step))


class FrameMaker:
    """Makes frames from a seed, for a given set of rules."""

    def __init__(self, rules: InterfaceState, seed: int) -> None:
        self._random = Dice(seed)
        self._vips = [int(one.vip) for one in rules.groups if one.vip.version == 4]
        self._sources = [
            int(network) + offset & 0xFFFFFFFF
            for entry in rules.entries
            for network in (
                entry.rule.match.source.network_address,
                entry.rule.match.source.broadcast_address,
            )
            for offset in (-1, 0, 1)
        ]
        self._ports = sorted(
            {
                edge + offset & 0xFFFF
                for entry in rules.entries
                for conditions in (
                    entry.rule.match.source_ports,
                    entry.rule.match.destination_ports,
                    entry.rule.match.either_ports,
                )
                for condition in conditions
                for pair in condition.ranges
                for edge in pair
                for offset in (-1, 0, 1)
            }
        )
        self._protocols = sorted({entry.rule.match.protocol for entry in rules.entries})

    def frames(self, count: int) -> Iterator[bytes]:
        made = 0
        while made < count:
            some = self.some()
            yield from some
            made += len(some)

    def some(self) -> list[bytes]:
        """Return a frame, or the fragments of one packet."""
        made = [self.frame()] if self._random.random() < 0.97 else self._fragments()
        return [self._tag(frame) for frame in made]

    def _tag(self, frame: bytes) -> bytes:
        """Put tags before what some frames carry, most of them with VLAN id 0 and a priority."""
        rnd = self._random
        return tagged(frame, rnd) if rnd.random() < 0.05 else frame

    def _fragments(self) -> list[bytes]:
        """Return the fragments of one packet, the first of them not always first."""
        rnd = self._random
        protocol = rnd.choice((6, 17, 17, 1, 132))
        header = struct.pack(
            ">BBHHHBBHII",
            *(0x45, 0, 44, rnd.randrange(65536), 0x2000, 64, protocol, 0),
            *(self._pick(self._sources, 32), self._pick(self._vips, 32, 1.0)),
        )
        link = MACS[0] + b"\x02\x00\x00\x00\x00\x09\x08\x00"
        first = link + header + self._transport(protocol)[:24].ljust(24, b"\0")
        later = [
            link + header[:6] + struct.pack(">H", more << 13 | at) + header[8:] + rnd.randbytes(24)
            for more, at in ((1, 3), (0, 6))
        ]
        train = [first, *later]
        if rnd.random() < 0.3:
            rnd.shuffle(train)
        return train

    def _pick(self, likely: Sequence[int], bits: int, chance: float = 0.7) -> int:
        if likely and self._random.random() < chance:
            return self._random.choice(likely)
        return self._random.getrandbits(bits)

    def frame(self) -> bytes:
        rnd = self._random
        destination = self._pick(self._vips, 32, 0.9)
        if rnd.random() < 0.03:
            destination ^= 1 << rnd.randrange(32)
        protocol = rnd.choice((*PROTOCOLS, *self._protocols))
        if rnd.random() < 0.05:
            protocol = rnd.randrange(256)
        packet = self._ip(protocol, destination, self._transport(protocol))
        ethertype = 0x0800 if rnd.random() < 0.97 else rnd.choice(ETHERTYPES)
        frame = (
            rnd.choice(MACS) + b"\x02\x00\x00\x00\x00\x09" + struct.pack(">H", ethertype) + packet
        )
        return self._maul(frame)

    def _transport(self, protocol: int) -> bytes:
        rnd = self._random
        ports = struct.pack(">HH", self._pick(self._ports, 16), self._pick(self._ports, 16))
        body = rnd.randbytes(rnd.choice((0, 1, 4, 8, 16, 20, 40)))
        if protocol == 6:
            flags = rnd.choice((0x02, 0x12, 0x10, 0x18, 0x04, 0x11, 0xC2, rnd.randrange(256)))
            return ports + rnd.randbytes(8) + bytes((0x50, flags)) + rnd.randbytes(6) + body
        if protocol == 51:
            return rnd.randbytes(4) + ports + body
        if protocol == 1 and rnd.random() < 0.8:
            return self._icmp()
        return ports + rnd.randbytes(4) + body

    def _icmp(self) -> bytes:
        """Return an ICMP message, mostly an error about a packet that a VIP sent."""
        rnd = self._random
        kind = rnd.choice((3, 4, 5, 11, 12, 0, 8, rnd.randrange(256)))
        protocol = rnd.choice((*PROTOCOLS, *self._protocols))
        words = 5 if rnd.random() < 0.8 else rnd.randrange(16)
        fragment = 0x4000 if rnd.random() < 0.9 else rnd.choice((0x2000, 0x2001, 1))
        header = struct.pack(
            ">BBHHHBBHII",
            (4 if rnd.random() < 0.95 else 6) << 4 | words,
            *(0, rnd.randrange(65536), 1, fragment, 64, protocol, 0),
            *(self._pick(self._vips, 32, 0.95), self._pick(self._sources, 32)),
        )
        ports = struct.pack(">HH", self._pick(self._ports, 16), self._pick(self._ports, 16))
        if protocol == 51:
            ports = rnd.randbytes(4) + ports
        quoted = header + rnd.randbytes(max(0, words * 4 - 20)) + ports + rnd.randbytes(4)
        if rnd.random() < 0.2:
            quoted = quoted[: rnd.randrange(len(quoted) + 1)]
        return bytes((kind, rnd.randrange(16))) + rnd.randbytes(6) + quoted

    def _ip(self, protocol: int, destination: int, transport: bytes) -> bytes:
        rnd = self._random
        words = 5 if rnd.random() < 0.8 else rnd.randrange(6, 16)
        total = words * 4 + len(transport)
        fragment = 0x4000
        chance = rnd.random()
        if chance < 0.05:
            fragment = rnd.choice((0x2000, 0x2001, 0x0001, 0x1FFF, 0x3FFF, 0x8000, 0xE000))
        elif chance < 0.08:
            words = rnd.randrange(16)
        elif chance < 0.12:
            total = rnd.choice(
                (0, 1, words * 4, words * 4 + 3, words * 4 + 7, words * 4 + 19, 65535)
            )
        version = 4 if rnd.random() < 0.98 else rnd.randrange(16)
        return (
            struct.pack(
                ">BBHHHBBHII",
                version << 4 | words,
                rnd.randrange(256),
                total,
                rnd.randrange(65536),
                fragment,
                64,
                protocol,
                rnd.randrange(65536),
                self._pick(self._sources, 32),
                destination,
            )
            + rnd.randbytes(max(0, words * 4 - 20))
            + transport
        )

    def _maul(self, frame: bytes) -> bytes:
        rnd = self._random
        chance = rnd.random()
        if chance < 0.08:
            frame = frame[: rnd.randrange(14, len(frame) + 1)]
        elif chance < 0.16:
            frame += rnd.randbytes(rnd.randrange(1, 40))
        elif chance < 0.20:
            mauled = bytearray(frame)
            mauled[rnd.randrange(12, len(frame))] ^= 1 << rnd.randrange(8)
            frame = bytes(mauled)
        # The kernel takes no frame shorter than its Ethernet header.
        return frame.ljust(14, b"\0")


def tagged(frame: bytes, rnd: random.Random) -> bytes:
    """Return a frame with tags, most of them with VLAN id 0 and a priority."""
    for _ in range(rnd.choice((1, 1, 1, 2, 2, 3, 4))):
        tci = rnd.randrange(16) << 12 | (0 if rnd.random() < 0.9 else rnd.choice((1, 5, 256, 4095)))
        frame = frame[:12] + struct.pack(">HH", rnd.choice(TAGS), tci) + frame[12:]
    return frame


def plain_frame(
    source: str, sport: int, vip: IPv4Address, dport: int, protocol: int = 6, flags: int = 0x02
) -> bytes:
    """Return one well-formed frame to a VIP."""
    transport = struct.pack(">HH", sport, dport)
    if protocol == 51:
        transport = bytes(4) + transport
    if protocol == 6:
        transport += struct.pack(">IIBBHHH", 1, 1, 0x50, flags, 1024, 0, 0)
    else:
        transport += struct.pack(">HH", 8, 0)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0)
    addresses = IPv4Address(source).packed + vip.packed
    return MACS[0] + b"\x02\x00\x00\x00\x00\x09\x08\x00" + header + addresses + transport
