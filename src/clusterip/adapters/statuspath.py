"""Where the status sockets of daemons are: a folder of /run for each network namespace.

Everybody may look into it; who may connect, the mode and the group of each socket say. It is short
enough for a socket address, whatever the name of the cluster.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clusterip.adapters.bpffs import namespace_cookie
from clusterip.core.errors import UsageError

ROOT: Final = Path("/run/clusterip-status")


def folder() -> Path:
    """Return the folder of this network namespace, which need not exist."""
    return ROOT / str(namespace_cookie())


def path_of(cluster: str) -> Path:
    """Return where the status socket of a cluster's daemon is in this network namespace.

    UsageError for what is no name of a cluster: it must not lead elsewhere.
    """
    from clusterip.core.config import values  # noqa: PLC0415 - only a name is checked

    try:
        values.name(cluster)
    except values.BadValueError as error:
        raise UsageError(f"cluster {error.message}", error.cure) from error
    return folder() / cluster


def clusters() -> tuple[str, ...]:
    """Return the names of the clusters that have a status socket in this network namespace."""
    place = folder()
    names = sorted(place.iterdir()) if place.is_dir() else []
    return tuple(one.name for one in names if one.is_socket())
