"""The qdisc clsact of an interface, and what filters it has."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from typing import Any, Final

from clusterip.adapters import libbpf
from clusterip.adapters.links import Link
from clusterip.adapters.netlink import rtnetlink

_CLSACT_PARENT: Final = 0xFFFFFFF1  # linux/pkt_sched.h
_ATTEMPTS: Final = 200
_PAUSE_SECONDS: Final = 0.01


def filters(link: Link, parent: int) -> Iterator[Any]:
    """Yield the messages that tell of the filters at one of its hooks."""
    with rtnetlink("tc filter") as route:
        yield from list(route.get_filters(index=link.index, parent=parent))


def qdiscs(link: Link) -> set[str]:
    """Return the kinds of what is where clsact must be: one, or none."""
    with rtnetlink("tc qdisc") as route:
        return {
            message.get_attr("TCA_KIND")
            for message in route.get_qdiscs(index=link.index)
            if message["parent"] == _CLSACT_PARENT
        }


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
