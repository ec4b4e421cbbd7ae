"""rtnetlink(7) by hand: lists of what there is, and changes one by one.

A message is a fixed head of its own kind and attributes, each a number and bytes; numbers and
layouts are those of linux/rtnetlink.h and its neighbours, and stand where they are used. A library
for all of it would be more than half of the time that a command takes.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_ERROR: Final = 2
_DONE: Final = 3
_REQUEST: Final = 0x1
_INTERRUPTED: Final = 0x10
_ACK: Final = 0x4
_LIST: Final = 0x300
REPLACE: Final = 0x100
ONLY_NEW: Final = 0x600
"""Flags of a change: of what is there; of what must not be there yet (NLM_F_CREATE, _EXCL)."""
CREATE: Final = 0x400
_SOL_NETLINK: Final = 270
_GET_STRICT_CHK: Final = 12
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr: length, type
_KIND: Final = 0x3FFF
"""What is the type in it: above are flags."""
_CODE: Final = struct.Struct("=i")  # what an error and the end of a list begin with: 0 or -errno
_BUFFER: Final = 1 << 16  # bytes; the kernel sends no more than 32 KiB at once
_ATTEMPTS: Final = 20

Attributes = dict[int, bytes]
"""Attributes by their number."""


class _ChangedError(Exception):
    """What is listed changed meanwhile: something may be missing, or there twice."""


def listed(what: int, head: bytes, purpose: str, *, strict: bool = False) -> list[bytes]:
    """Return the bodies of the messages that a list consists of, heads and attributes.

    Older kernels may list more than `head` says, unless it is `strict`. OSError, which names the
    `purpose`, where the kernel refuses, or EAGAIN where what is listed changes again and again.
    """
    for _ in range(_ATTEMPTS):
        try:
            return list(_listed(what, head, purpose, strict=strict))
        except _ChangedError:
            continue
    raise _failure(errno.EAGAIN, purpose)


def ask(what: int, flags: int, body: bytes, purpose: str) -> None:
    """Have something changed; OSError, which names the `purpose`, if the kernel refuses."""
    with _socket() as one:
        one.send(_message(what, _ACK | flags, body))
        for kind, _, answer in _messages(one.recv(_BUFFER), purpose):
            if kind == _ERROR:
                _raise_if_refused(answer, purpose)
                return
    raise _failure(errno.EBADMSG, purpose)


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it stands in a message."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(some: bytes) -> Attributes:
    """Read what follows the head of a message, or the value of an attribute that has some."""
    found: Attributes = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(some):
        length, kind = _ATTRIBUTE.unpack_from(some, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND] = some[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def number(value: bytes | None) -> int:
    """Read an attribute that is a number, 0 if it is missing."""
    return int.from_bytes(value, "little") if value else 0


def text(value: bytes | None) -> str:
    """Read an attribute that is a text, "" if it is missing; bytes that are none are kept."""
    return os.fsdecode(value.rstrip(b"\0")) if value else ""


def _listed(what: int, head: bytes, purpose: str, *, strict: bool) -> Iterator[bytes]:
    with _socket() as one:
        if strict:
            one.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        one.send(_message(what, _LIST, head))
        while True:
            for kind, flags, body in _messages(one.recv(_BUFFER), purpose):
                if flags & _INTERRUPTED:
                    raise _ChangedError
                if kind in {_DONE, _ERROR}:
                    _raise_if_refused(body, purpose)
                    return
                yield body


def _socket() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    return socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)


def _message(what: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), what, _REQUEST | flags, 0, 0) + body


def _messages(portion: bytes, purpose: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and body of each message; OSError, EBADMSG, if one is cut short."""
    at = 0
    while at < len(portion):
        if len(portion) - at < _HEADER.size:
            raise _failure(errno.EBADMSG, purpose)
        length, kind, flags, *_ = _HEADER.unpack_from(portion, at)
        if not _HEADER.size <= length <= len(portion) - at:
            raise _failure(errno.EBADMSG, purpose)
        yield kind, flags, portion[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _raise_if_refused(body: bytes, purpose: str) -> None:
    if len(body) < _CODE.size:
        raise _failure(errno.EBADMSG, purpose)
    (code,) = _CODE.unpack_from(body)
    if code:
        raise _failure(-code, purpose)


def _failure(code: int, purpose: str) -> OSError:
    return OSError(code, f"{purpose}: {os.strerror(code)}")
