"""Packets in fragments, as a client sends them: by its kernel, or by hand in any order."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING

from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.topology import Client
    from lab.traffic import Flow

MTU = 1500
SYN_FRAGMENT = 24  # bytes of a SYN with options of 20 that are in its first fragment
_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
_PATIENCE, _QUIET = 5.0, 0.3

Train = list[bytes]
"""The fragments of one packet as frames, in order."""


def train(flow: Flow, number: int, transport: Packet, size: int, macs: tuple[str, str]) -> Train:
    """Return a packet in fragments with `size` bytes of it in each, a multiple of 8."""
    source, vip = flow.source, flow.destination
    if ip_address(flow.destination).version == 4:
        whole = IP(src=source, dst=vip, id=number) / transport
        parts = fragment(whole, fragsize=size)  # type: ignore[no-untyped-call]
    else:
        whole6 = IPv6(src=source, dst=vip) / IPv6ExtHdrFragment(id=number) / transport
        parts = fragment6(whole6, 40 + 8 + size)  # type: ignore[no-untyped-call]
    link = Ether(src=macs[0], dst=macs[1])
    return [bytes(link / part) for part in parts]


def datagram(flow: Flow, number: int, content: bytes, macs: tuple[str, str]) -> Train:
    """Return a datagram in fragments such as its MTU asks for."""
    udp = UDP(sport=flow.source_port, dport=flow.destination_port) / Raw(content)
    return train(flow, number, udp, (MTU - 48) & ~7, macs)


def syn(flow: Flow, number: int, macs: tuple[str, str]) -> Train:
    """Return a SYN in two fragments."""
    ends = flow.source_port, flow.destination_port
    tcp = TCP(sport=ends[0], dport=ends[1], flags="S", seq=number, options=_OPTIONS)
    return train(flow, number, tcp, SYN_FRAGMENT, macs)


def backwards(trains: Sequence[Train]) -> list[bytes]:
    """Return all last fragments, then all before them, and so on: every first one is late."""
    assert len({len(one) for one in trains}) == 1
    return [one[at] for at in reversed(range(len(trains[0]))) for one in trains]


def in_order(trains: Sequence[Train]) -> list[bytes]:
    """Return the fragments packet by packet."""
    return [frame for one in trains for frame in one]


def send_frames(frames: Sequence[bytes]) -> None:
    """Send frames as they are; to be called in the client's namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind(("eth0", 0))
        for frame in frames:
            raw.send(frame)


def datagram_answers(
    client: Client, flows: Sequence[Flow], send: Callable[[list[socket.socket]], None]
) -> list[list[bytes]]:
    """Return all that came back to each flow; `send` is given their sockets, connected."""

    def ask() -> list[list[bytes]]:
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            told: list[list[bytes]] = []
            sockets = []
            for flow in flows:
                family = socket.AF_INET6 if ":" in flow.source else socket.AF_INET
                one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
                one.bind((flow.source, flow.source_port))
                one.connect((flow.destination, flow.destination_port))
                told.append([])
                selector.register(one, selectors.EVENT_READ, (one, told[-1]))
                sockets.append(one)
            send(sockets)
            deadline = time.monotonic() + _PATIENCE
            while True:
                left = _QUIET if all(told) else max(_QUIET, deadline - time.monotonic())
                ready = selector.select(left)
                if not ready:
                    return told
                for key, _ in ready:
                    receiver, answers = key.data
                    answers.append(receiver.recv(1 << 16))

    return client.call(ask)
