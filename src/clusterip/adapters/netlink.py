"""rtnetlink(7), and its errors as those of the system that they are."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING


@contextlib.contextmanager
def _parts_only(package: str) -> Iterator[None]:
    """Import modules of a package in the body without its front page, which imports them all."""
    spec = None if package in sys.modules else find_spec(package)
    if spec is None:  # it is there already, or nowhere
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        # Who asks for the package itself is to have it whole.
        del sys.modules[package]


if TYPE_CHECKING:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkDecodeError, NetlinkError
else:
    # A third of the time that each command takes to begin would go into what nothing here uses.
    with _parts_only("pyroute2"):
        from pyroute2.iproute.linux import IPRoute
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
