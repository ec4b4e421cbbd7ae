"""IPv6 frames at random, in the manner of `tests.bpf.frames`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from clusterip.core.packets.state import InterfaceState
from tests.bpf.frames import ETHERTYPES, MACS, PROTOCOLS, Dice, FrameMaker, plain_frame

PROTOCOLS6 = tuple(58 if protocol == 1 else protocol for protocol in PROTOCOLS)
EXTENSIONS = (0, 43, 44, 60, 60, 44)
PREFIX = 0x20010DB8 << 96


class FrameMaker6(FrameMaker):
    """Makes IPv6 frames from a seed, for a given set of rules."""

    def __init__(self, rules: InterfaceState, seed: int) -> None:
        super().__init__(rules, seed)
        self._vips = [int(one.vip) for one in rules.groups if one.vip.version == 6]
        # A few hosts of one network, which hash alike or not as the prefix has it.
        self._sources = [PREFIX | self._random.getrandbits(64) >> at for at in range(0, 64, 8)]

    def frame(self) -> bytes:
        rnd = self._random
        destination = self._pick(self._vips, 128, 0.95)
        if rnd.random() < 0.03:
            destination ^= 1 << rnd.randrange(128)
        protocol = rnd.choice((*PROTOCOLS6, *self._protocols))
        if rnd.random() < 0.05:
            protocol = rnd.randrange(256)
        transport = self._icmp() if protocol == 58 else self._transport(protocol)
        packet = self._packet(destination, *self._chain(protocol), transport)
        ethertype = 0x86DD if rnd.random() < 0.97 else rnd.choice((*ETHERTYPES, 0x0800))
        return self._maul(self._link(ethertype) + packet)

    def _link(self, ethertype: int) -> bytes:
        link = self._random.choice(MACS) + b"\x02\x00\x00\x00\x00\x09"
        return link + ethertype.to_bytes(2, "big")

    def _packet(self, destination: int, first: int, chain: bytes, transport: bytes) -> bytes:
        rnd = self._random
        length = len(chain) + len(transport)
        if rnd.random() < 0.06:
            near = len(chain)
            short = max(0, length - rnd.randrange(1, 9))  # the end is padding
            length = rnd.choice(
                (0, 1, 7, 8, near, near + 3, near + 7, near + 19, short, short, 65535)
            )
        version = 6 if rnd.random() < 0.98 else rnd.randrange(16)
        source = self._pick(self._sources, 128)
        return self._header(version, length, first, source, destination) + chain + transport

    def _header(
        self, version: int, length: int, first: int, source: int, destination: int
    ) -> bytes:
        start = version << 28 | self._random.getrandbits(28)
        addresses = source.to_bytes(16, "big") + destination.to_bytes(16, "big")
        return struct.pack(">IHBB", start, length, first, 64) + addresses

    def _chain(self, protocol: int) -> tuple[int, bytes]:
        """Return extension headers before a protocol: what the first one is, and all of them."""
        rnd = self._random
        if rnd.random() < 0.6:
            return protocol, b""
        count = rnd.choice((1, 1, 1, 2, 3, 5, 6, 7, 8))
        kinds = [rnd.choice(EXTENSIONS) for _ in range(count)]
        chain = b""
        for kind, following in zip(kinds, (*kinds[1:], protocol), strict=True):
            if kind == 44:
                place = rnd.choice((0, 0, 0, 1, 1, 8, 9, rnd.randrange(65536)))
                chain += struct.pack(">BBHI", following, 0, place, rnd.randrange(8))
            else:
                length = rnd.choice((0, 0, 0, 1, 2, 12)) if rnd.random() < 0.97 else 40
                chain += bytes((following, length)) + rnd.randbytes(6 + length * 8)
        return kinds[0], chain

    def _icmp(self) -> bytes:
        """Return an ICMPv6 message, mostly an error about a packet that a VIP sent."""
        rnd = self._random
        kind = rnd.choice((1, 2, 2, 3, 4, 128, 130, 135, 136, 138, 143, rnd.randrange(256)))
        protocol = rnd.choice((*PROTOCOLS6, *self._protocols))
        first, chain = self._chain(protocol)
        version = 6 if rnd.random() < 0.95 else 4
        ours = self._pick(self._vips, 128, 0.95)
        quoted = self._header(version, 1400, first, ours, self._pick(self._sources, 128)) + chain
        ports = struct.pack(">HH", self._pick(self._ports, 16), self._pick(self._ports, 16))
        quoted += (rnd.randbytes(4) if protocol == 51 else b"") + ports + rnd.randbytes(4)
        if rnd.random() < 0.2:
            quoted = quoted[: rnd.randrange(len(quoted) + 1)]
        return bytes((kind, rnd.randrange(8))) + rnd.randbytes(6) + quoted

    def _fragments(self) -> list[bytes]:
        """Return the fragments of one packet, the first of them not always first."""
        rnd = self._random
        protocol = rnd.choice((6, 17, 17, 58, 132))
        ends = self._pick(self._sources, 128), self._pick(self._vips, 128, 1.0)
        number = rnd.getrandbits(32)
        content = self._transport(protocol)[:24].ljust(24, b"\0"), rnd.randbytes(24), b"end"
        train = [
            self._link(0x86DD)
            + self._header(6, 8 + len(part), 44, *ends)
            + struct.pack(">BBHI", protocol, 0, at << 3 | more, number)
            + part
            for part, at, more in zip(content, (0, 3, 6), (1, 1, 0), strict=True)
        ]
        if rnd.random() < 0.3:
            rnd.shuffle(train)
        return train


def both_versions(rules: InterfaceState, seed: int, count: int) -> Iterator[bytes]:
    """Yield frames of both IP versions, most of the version of the VIPs."""
    rnd = Dice(seed)
    four, six = FrameMaker(rules, seed), FrameMaker6(rules, seed)
    makers = [six if group.vip.version == 6 else four for group in rules.groups] * 5
    makers += [four, six]
    made = 0
    while made < count:
        some = rnd.choice(makers).some()
        yield from some
        made += len(some)


def plain_frame6(
    source: str, sport: int, vip: IPv6Address, dport: int, protocol: int = 6, flags: int = 0x02
) -> bytes:
    """Return one well-formed frame to an IPv6 VIP."""
    # An IPv4 frame of the same kind, for what comes after its header.
    transport = plain_frame("192.0.2.1", sport, IPv4Address("192.0.2.2"), dport, protocol, flags)
    return header6(source, vip, protocol, transport[34:])


def header6(source: str, vip: IPv6Address, protocol: int, transport: bytes) -> bytes:
    """Return a frame to an IPv6 VIP that holds this."""
    link = MACS[0] + b"\x02\x00\x00\x00\x00\x09\x86\xdd"
    ends = IPv6Address(source).packed + vip.packed
    return link + struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64) + ends + transport
