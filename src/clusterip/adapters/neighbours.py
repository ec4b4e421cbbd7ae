"""Neighbours whose MAC Linux asks for: in vain while a link is down, and then once a second only.

What has no carrier sends no ARP, and no neighbour solicitation, but counts as asked. So after a
link was gone for a moment, answers to a client or a router would wait for the rest of that second.
"""

from __future__ import annotations

import errno
from typing import Final

from clusterip.adapters.netlink import rtnetlink

_NONE: Final = 0
_INCOMPLETE: Final = 0x01
_USE: Final = 0x01
"""States and a flag of struct ndmsg, rtnetlink(7): to be used now."""
_GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})


def ask_again(index: int) -> int:
    """Ask at once for all neighbours that are being asked for on an interface; returns how many.

    What waits for their answers goes on waiting.
    """
    asked = 0
    with rtnetlink("ip neighbour") as route:
        for one in list(route.get_neighbours(ifindex=index)):
            if one["state"] != _INCOMPLETE:
                continue
            which = {"ifindex": index, "family": one["family"], "dst": one.get_attr("NDA_DST")}
            try:
                # Back to the beginning, and from there as the first packet to it would have it.
                route.neigh("change", state=_NONE, **which)
                route.neigh("change", state=_NONE, flags=_USE, **which)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
            else:
                asked += 1
    return asked
