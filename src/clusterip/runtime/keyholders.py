"""Which nodes have a key, as the daemons here that go by its file say.

A key that is sent with before all have it cuts a node off from those that do not; so does one that
is dropped while somebody sends with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clusterip.adapters import configfiles, statusclient, statuspath
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.status import Node, Status
from clusterip.runtime.key_missing import speaks

_PATIENCE_SECONDS: Final = 2.0


def refuse_using(file: str, identity: int) -> None:
    """Raise RefusedError where a node is known not to have a key that is to be sent with."""
    lacking = _names(file, lambda one: one.keys is not None and identity not in one.keys)
    if lacking:
        raise RefusedError(
            f"key {identity} is not in use on {lacking} yet, which would not hear this host any"
            " more",
            "copy the file there, `clusterip reload` there, and give this again; or --force",
        )


def refuse_dropping(file: str, identity: int) -> None:
    """Raise RefusedError where a node is known to send with a key that is to go."""
    senders = _names(file, lambda one: one.key == identity)
    if senders:
        raise RefusedError(
            f"key {identity} is what {senders} sends with, which would not be heard here any more",
            f"`clusterip keygen {file} --use` the other key there, `clusterip reload` there, and"
            " give this again; or --force",
        )


def _names(file: str, lacks: Callable[[Node], bool]) -> str:
    """Return the names of the other living nodes of which something is so, "" if of none."""
    found = {
        node.name
        for status in _daemons(file)
        for node in status.nodes
        if not node.me and speaks(status, node) and lacks(node)
    }
    return ", ".join(sorted(found))


def _daemons(file: str) -> Iterator[Status]:
    """Yield what each daemon here says that goes by that key file, as far as it may be asked."""
    wanted = Path(file).resolve()
    for name in statuspath.clusters():
        with contextlib.suppress(ClusterIPError, OSError):
            said = statusclient.status(name, patience=_PATIENCE_SECONDS)
            if Path(configfiles.load(said.file).key_file).resolve() == wanted:
                yield said
