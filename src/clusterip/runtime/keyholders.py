"""Which nodes have a key, as the daemons here that go by its file say.

A key that is sent with before all have it cuts a node off from those that do not; so does one that
is dropped while somebody sends with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from clusterip.adapters import configfiles, statuspath
from clusterip.adapters.statusclient import StatusClient
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.status import Node, Status

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


def missing(status: Status) -> Iterator[tuple[str, Finding]]:
    """Yield which key is sent with and missing where: as `faults.of_status` has them."""
    there = [node for node in status.nodes if node.me or _speaks(status, node)]
    for key in sorted({node.key for node in there if node.key is not None}):
        senders = ", ".join(node.name for node in there if node.key == key)
        lacking = [node.name for node in there if node.keys is not None and key not in node.keys]
        if lacking:
            names = ", ".join(lacking)
            yield (
                f"key {key}",
                Finding.of(
                    Code.KEY_MISSING,
                    f"key {key}, used by {senders}, is missing on {names}",
                    "who lacks it does not hear who uses it",
                    cure=f"copy the key file to {names}, and `clusterip reload` there",
                ),
            )


def _speaks(status: Status, node: Node) -> bool:
    """Tell whether a node is heard: what it said last is so. It may be deaf for want of a key."""
    return node.alive or node.name in status.deaf


def _names(file: str, lacks: Callable[[Node], bool]) -> str:
    """Return the names of the other living nodes of which something is so, "" if of none."""
    found = {
        node.name
        for status in _daemons(file)
        for node in status.nodes
        if not node.me and _speaks(status, node) and lacks(node)
    }
    return ", ".join(sorted(found))


def _daemons(file: str) -> Iterator[Status]:
    """Yield what each daemon here says that goes by that key file, as far as it may be asked."""
    wanted = Path(file).resolve()
    for name in statuspath.clusters():
        with contextlib.suppress(ClusterIPError, OSError):
            with StatusClient(name, patience=_PATIENCE_SECONDS) as client:
                said = client.status()
            if Path(configfiles.load(said.file).key_file).resolve() == wanted:
                yield said
