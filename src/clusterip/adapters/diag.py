"""The TCP connections of this network namespace, from the kernel's sock_diag(7).

The conversation is two dumps, one for each family of sockets, and of each answer only the fixed
head is read (struct inet_diag_msg, linux/inet_diag.h). Every field and attribute of every socket
would take about 40 times as long.

Connections are handed out one by one, as the kernel tells them. Ten thousand at once would set
Python's garbage collector to work through all there is, while no other thread has its turn.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol

import msgspec

from clusterip.core.address import Address
from clusterip.core.packets.connections import Connection

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST_DUMP: Final = 0x301

# Numbers of linux/tcp_states.h (net/tcp_states.h in the kernel); request sockets are SYN_RECV.
_ESTABLISHED, _TIME_WAIT, _CLOSE, _LISTEN, _CLOSING = 1, 6, 7, 10, 11
_STATES: Final = sum(
    1 << state
    for state in range(_ESTABLISHED, _CLOSING + 1)
    if state not in {_TIME_WAIT, _CLOSE, _LISTEN}
)

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_BEGIN: Final = struct.Struct("=IH")  # of it, length and type
_ERROR: Final = struct.Struct("=i")  # what NLMSG_ERROR and NLMSG_DONE begin with: 0 or -errno
_REQUEST: Final = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
_MESSAGE: Final = 72  # struct inet_diag_msg, without its attributes
_ENDS: Final = struct.Struct("!HH")  # from _PORTS on: local, remote
_PORTS: Final = _HEADER.size + 4
_LOCAL: Final = _PORTS + 4  # 16 bytes, of which IPv4 uses the first 4
_REMOTE: Final = _LOCAL + 16
_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, RFC 4291 2.5.5.2
_BUFFER: Final = 65536  # bytes; the kernel sends no more than 32 KiB at once


class Sockets(Protocol):
    """What can be asked of the sockets of this host."""

    def tcp(self, addresses: frozenset[Address]) -> Iterator[Connection]:
        """Yield the TCP connections whose local address is one of `addresses`, in any order.

        Those that a move of their bucket would break: all states but LISTEN, CLOSE and
        TIME_WAIT. Half-open ones count, and IPv4 connections of IPv6 sockets do.
        The kernel is asked in portions, as connections are taken from the iterator, which raises
        OSError. They come and go meanwhile, so one may be missing or there twice: that
        there are none any more is to be seen more than once.
        """


class DiagSockets:
    """The sockets of the network namespace this thread is in. Any thread may ask."""

    def tcp(self, addresses: frozenset[Address]) -> Iterator[Connection]:
        """Yield the TCP connections whose local address is one of `addresses`."""
        if addresses:
            plain = {one.packed: one for one in addresses if isinstance(one, IPv4Address)}
            mapped = {_MAPPED + packed: address for packed, address in plain.items()}
            native = {one.packed: one for one in addresses if isinstance(one, IPv6Address)}
            if plain:
                yield from _connections(socket.AF_INET, plain)
            yield from _connections(socket.AF_INET6, {**mapped, **native})


def _connections(family: int, addresses: Mapping[bytes, Address]) -> Iterator[Connection]:
    """Yield the connections of the sockets of one family.

    `addresses` are the local ones wanted, by their bytes in that family.
    """
    end = _LOCAL + (4 if family == socket.AF_INET else 16)
    remote = _REMOTE + end - _LOCAL
    for portion, at in _dump(family):
        vip = addresses.get(portion[at + _LOCAL : at + end])
        if vip is not None:
            port, source_port = _ENDS.unpack_from(portion, at + _PORTS)
            # The kernel takes hold of some sockets, then tells of each: one that ended in between
            # has lost its port (inet_put_port, net/ipv4/inet_hashtables.c), and so its bucket.
            if not port:
                continue
            # The client of an IPv4 VIP is IPv4 in the last four bytes of whatever there is.
            if isinstance(vip, IPv4Address):
                source: Address = IPv4Address(portion[at + remote - 4 : at + remote])
            else:
                source = IPv6Address(portion[at + _REMOTE : at + remote])
            yield Connection(vip, port, source, source_port)


def _dump(family: int) -> Iterator[tuple[bytes, int]]:
    """Yield the sockets of one family: where in a portion of the answer the message begins."""
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _STATES)
    header = _HEADER.pack(
        _HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 0, 0
    )
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as one:
        one.send(header + request)
        while True:
            portion = one.recv(_BUFFER)
            for at, what in messages(portion):
                if what in {_NLMSG_DONE, _NLMSG_ERROR}:
                    _raise_if_failed(portion, at)
                    return
                yield portion, at


def messages(portion: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each netlink message of a portion begins, and its type.

    Each is as long as what will be read of it; raises OSError, EBADMSG, if one is not.
    """
    at = 0
    while at < len(portion):
        left = len(portion) - at
        if left < _HEADER.size:
            raise _failure(errno.EBADMSG)
        length, what = _BEGIN.unpack_from(portion, at)
        least = _HEADER.size + (_MESSAGE if what == _SOCK_DIAG_BY_FAMILY else _ERROR.size)
        if not least <= length <= left:
            raise _failure(errno.EBADMSG)
        yield at, what
        at += (length + 3) & ~3


def _raise_if_failed(portion: bytes, at: int) -> None:
    (code,) = _ERROR.unpack_from(portion, at + _HEADER.size)
    if code:
        raise _failure(-code)


def _failure(code: int) -> OSError:
    return OSError(code, f"listing TCP connections: {os.strerror(code)}")


class FakeSockets(msgspec.Struct):
    """Connections in memory, for tests."""

    connections: list[Connection] = msgspec.field(default_factory=list)

    def tcp(self, addresses: frozenset[Address]) -> Iterator[Connection]:
        """Yield the connections whose local address is one of `addresses`."""
        return (one for one in self.connections if one.vip in addresses)
