"""Which cluster is meant, where daemons of several may run in this network namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clusterip.adapters import capabilities, control, runfiles, statuspath
from clusterip.core.errors import RefusedError, SystemFaultError

WITH_OPTION: Final = "say which is meant with --cluster"


def chosen(cluster: str | None, cure: str = WITH_OPTION) -> str:
    """Return the cluster meant, None for the only one here; an error if none or several can be.

    `cure` says how to name it, as one that is there, `{name}`.
    """
    capabilities.require()
    if cluster is not None:
        return cluster
    return _the_only(runfiles.running(), cure)


def watched(cluster: str | None, cure: str) -> str:
    """Return the cluster whose status socket is meant, for who need not be root; else as above."""
    names = statuspath.clusters()
    if cluster in names:
        return cluster
    if cluster is not None:
        statuspath.path_of(cluster)  # or it is no name of a cluster
    running = [one for one in runfiles.running() if cluster in (None, one)]
    if running and not set(running) & set(names):
        # It may be about to begin as well: then its status is a moment late.
        raise SystemFaultError(
            f"the daemon of cluster {running[0]} tells no events",
            "release 0.1.0 does not: `clusterip restart` replaces it by the one that is installed,"
            " and loses no packet; of a later one, its log says why not",
        )
    if cluster is not None:
        words = f"no daemon of cluster {cluster} runs in this network namespace"
        there = f"here is {', '.join(names)}" if names else control.START_IT
        raise SystemFaultError(words, there)
    return _the_only(names, cure)


def _the_only(names: Sequence[str], cure: str) -> str:
    if not names:
        raise SystemFaultError("no daemon runs in this network namespace", control.START_IT)
    if len(names) > 1:
        words = f"daemons of several clusters run here: {', '.join(names)}"
        raise RefusedError(words, cure.format(name=names[0]))
    return names[0]
