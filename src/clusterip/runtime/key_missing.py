"""Keys that a node sends with, and another one has not: those two do not hear each other."""

from __future__ import annotations

from collections.abc import Iterator

from clusterip.core.findings import Code, Finding
from clusterip.core.status import Node, Status


def findings(status: Status) -> Iterator[tuple[str, Finding]]:
    """Yield which key is sent with and missing where: as `faults.of_status` has them."""
    there = [node for node in status.nodes if node.me or speaks(status, node)]
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


def speaks(status: Status, node: Node) -> bool:
    """Tell whether a node is heard: what it said last is so. It may be deaf for want of a key."""
    return node.alive or node.name in status.deaf
