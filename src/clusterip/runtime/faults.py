"""What is wrong with a daemon and its cluster now, as its status says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clusterip.core.findings import Code, Finding
from clusterip.core.status import Status
from clusterip.runtime import key_missing

LOG: Final = "see the log"
COMPARE: Final = "compare the files with `clusterip check`"
DRAIN_FIRST: Final = "drain a host before you pause it"
PROCESSOR: Final = 'free the processor, or use profile = "relaxed"'
"""Cures, for those who tell of the same when it is over."""
NO_SOURCE: Final = Finding.of(
    Code.NO_SOURCE,
    "this host has no address but VIPs to send messages from",
    "the others do not hear it",
    cure="give the interface an address of its own",
)


def of_status(status: Status) -> Iterator[tuple[str, Finding]]:
    """Yield what its keys mean, beside its `faults`: each with the node that it is about, or ""."""
    if not status.in_control:
        words = "the interface is not in our control"
        yield "", Finding.of(Code.NOT_IN_CONTROL, words, cure=LOG)
    if status.without_source:
        yield "", NO_SOURCE
    for node in status.nodes:
        # Of the same file, it is the voters that differ: that is among its `faults`.
        if not node.agrees and node.digest != status.digest:
            known = f" (digest {node.digest})" if node.digest else ""
            yield (
                node.name,
                Finding.of(
                    Code.OTHER_CONFIGURATION,
                    f"{node.name} has another configuration{known}",
                    "it does not serve with this node",
                    cure=COMPARE,
                ),
            )
    yield from status.deaf.items()
    yield from key_missing.findings(status)
    bad = [one.name for one in status.checks if one.good is False]
    if bad:
        yield (
            "",
            Finding.of(
                Code.UNHEALTHY,
                "this host is unhealthy",
                ", ".join(bad),
                cure="mend what the check looks at; `clusterip show` has what it found",
            ),
        )
    if status.alone:
        yield (
            "",
            Finding.of(
                Code.ALONE,
                "serving alone",
                "the other voter is not heard",
                cure="bring it back",
            ),
        )
    if status.voters_waiting_for:
        yield (
            "",
            Finding.of(
                Code.VOTERS_NOT_IN_USE,
                "the voters of the file are not in use yet",
                status.voters_waiting_for,
                cure="reload where a host was not heard with them, or mend what is named",
            ),
        )
