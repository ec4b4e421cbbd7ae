"""rtnetlink(7), and its errors as those of the system that they are."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDecodeError, NetlinkError


@contextlib.contextmanager
def rtnetlink(purpose: str) -> Iterator[IPRoute]:
    """Ask the kernel in this network namespace; whatever it says no to is an OSError.

    pyroute2 has an OSError for some of it, and classes of its own, which are none, for the rest.
    """
    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise OSError(error.code, f"{purpose}: {error}") from error
    except NetlinkDecodeError as error:
        raise OSError(errno.EBADMSG, f"{purpose}: {error}") from error
