"""A daemon of this network namespace whose pins are in a bpffs that is not to be seen from here.

What it shares looks as if it were not: rules could be put in its place, or it be flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from clusterip.adapters import control, pages, runfiles
from clusterip.core.errors import ClusterIPError, RefusedError
from clusterip.core.findings import Code, Finding
from clusterip.core.messages.request import Show
from clusterip.core.status import Status


def fault(told: Status) -> Finding | None:
    """Return what is wrong with a daemon that answers, whose pins are not to be seen.

    A witness has none.
    """
    if told.witness:
        return None
    return Finding.of(
        Code.PINS_ELSEWHERE,
        f"the daemon of cluster {told.cluster} runs here, and what it shares is not to be seen from"
        " here",
        "its pins are in another bpffs",
        cure=f"stop it (kill {told.pid}), and start it where commands see its bpffs:"
        f" {pages.entering()}",
    )


def refuse(seen: Callable[[], Collection[str]]) -> None:
    """Raise RefusedError if a daemon here is not among those of which something is `seen`."""
    for name in runfiles.running():
        if name in seen():
            continue
        try:
            told = control.ask(name, Show())
        except ClusterIPError:
            continue  # it starts, waits for its interface, or ends: it shares nothing
        wrong = fault(told)
        # It may have begun since the look.
        if wrong is not None and name not in seen():
            raise RefusedError(wrong.sentence, wrong.cure)
