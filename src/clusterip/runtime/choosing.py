"""Which daemon of this host is meant, where a cluster is named, or there is only one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clusterip.adapters import capabilities, control, runfiles, statuspath
from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError
from clusterip.core.messages.request import Show

WITH_OPTION: Final = "say which is meant with --cluster"
_WITHOUT_EVENTS: Final = "0.1.0"
_PATIENCE_SECONDS: Final = 0.5


def chosen(cluster: str | None, cure: str = WITH_OPTION) -> str:
    """Return the cluster meant, None for the only one here; an error if none or several can be.

    `cure` says how to name it, as one that is there, `{name}`.
    """
    capabilities.require()
    if cluster is not None:
        return cluster
    nobody = SystemFaultError("no daemon runs in this network namespace", control.START_IT)
    return _the_only(runfiles.running(), nobody, cure)


def watched(cluster: str | None, cure: str) -> str:
    """Return the cluster whose status socket is meant, for who need not be root; else as above."""
    names = list(statuspath.clusters())
    if cluster in names:
        return cluster
    if cluster is not None:
        statuspath.path_of(cluster)  # or it is no name of a cluster
    running = [one for one in runfiles.running() if cluster in (None, one)]
    # Who asks one that is being replaced waits for the next.
    names += [one for one in running if one not in names and runfiles.is_handed_over(one)]
    if running and not set(running) & set(names):
        raise SystemFaultError(
            f"the daemon of cluster {running[0]} tells no events", _why_untold(running[0])
        )
    if cluster in names:
        return cluster
    if cluster is not None:
        raise SystemFaultError(
            f"no daemon of cluster {cluster} runs in this network namespace",
            f"here is {', '.join(names)}" if names else control.START_IT,
        )
    nobody = SystemFaultError("no daemon runs in this network namespace", control.START_IT)
    return _the_only(names, nobody, cure)


def _why_untold(cluster: str) -> str:
    """Return the cure where a daemon runs without a status socket."""
    later = "it may have begun just now: ask again; if that lasts, its log says why not"
    try:
        program = control.ask(cluster, Show(), patience=_PATIENCE_SECONDS).program
    except (ClusterIPError, OSError):
        return later
    if program != _WITHOUT_EVENTS:
        return later
    return (
        f"release {program} does not: `clusterip restart` replaces it by the one that is"
        " installed, and loses no packet"
    )


def _the_only(names: Sequence[str], nobody: SystemFaultError, cure: str) -> str:
    if not names:
        raise nobody
    if len(names) > 1:
        raise RefusedError(
            f"daemons of several clusters run here: {', '.join(names)}",
            cure.format(name=names[0]),
        )
    return names[0]
