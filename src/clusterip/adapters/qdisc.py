"""The qdisc clsact of an interface, and what filters it has."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from clusterip.adapters import libbpf, netlink
from clusterip.adapters.links import Link

_GETQDISC, _GETFILTER = 38, 46  # RTM_GETQDISC, RTM_GETTFILTER
_HEAD: Final = struct.Struct("=BxxxiIII")  # struct tcmsg: family, ifindex, handle, parent, info
_KIND: Final = 1  # TCA_KIND
_CLSACT_PARENT: Final = 0xFFFFFFF1  # linux/pkt_sched.h
_ATTEMPTS: Final = 200
_PAUSE_SECONDS: Final = 0.01


class Filter(NamedTuple):
    """A filter at a hook, or, with handle 0, all of one kind with that priority."""

    kind: str
    handle: int
    priority: int


def filters(link: Link, parent: int) -> Iterator[Filter]:
    """Yield the filters at one of its hooks."""
    head = _HEAD.pack(socket.AF_UNSPEC, link.index, 0, parent, 0)
    for body in netlink.listed(_GETFILTER, head, "tc filter"):
        _, _, handle, _, info = _HEAD.unpack_from(body)
        yield Filter(_kind(body), handle, info >> 16)


def qdiscs(link: Link) -> set[str]:
    """Return the kinds of what is where clsact must be: one, or none."""
    head = _HEAD.pack(socket.AF_UNSPEC, link.index, 0, 0, 0)
    found = set()
    for body in netlink.listed(_GETQDISC, head, "tc qdisc"):
        _, index, _, parent, _ = _HEAD.unpack_from(body)
        if (index, parent) == (link.index, _CLSACT_PARENT):
            found.add(_kind(body))
    return found


def _kind(body: bytes) -> str:
    return netlink.text(netlink.attributes(body[_HEAD.size :]).get(_KIND))


def remove(link: Link) -> None:
    """Remove the qdisc, which is busy for as long as somebody lists its filters."""
    for attempt in reversed(range(_ATTEMPTS)):
        try:
            libbpf.tc_hook_destroy(link.index)
        except OSError as error:
            if error.errno == errno.EBUSY and attempt:
                time.sleep(_PAUSE_SECONDS)
                continue
            # Somebody was faster, or it never came: it shall be gone, and it is.
            if error.errno not in (errno.ENOENT, errno.EINVAL) and "clsact" in qdiscs(link):
                raise
        return
