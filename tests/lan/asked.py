"""A cluster whose daemons are asked themselves: a test that waits for them leaves them more to do.

`clusterip show`, which a cluster of the lab asks, computes for longer than they do.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec

from clusterip.adapters import control
from clusterip.adapters.memory import RunFiles
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages.request import Show
from lab.cluster import BUCKETS, Cluster
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lab.topology import Host, Lab

NAME = "web"


class Asked(Cluster):
    """Its hosts were not booted just now, but for `booted`: no promise of a daemon before binds.

    A namespace is as new as a host that was: its first daemon grants nothing for as long as any
    promise before it may have lasted, about six seconds.
    """

    def __init__(self, lab: Lab, file: Path, *, booted: bool = False) -> None:
        super().__init__(lab, file)
        self._begins = True
        for host in () if booted else self.hosts:
            host.call(_remember)

    def settled(
        self,
        hosts: Iterable[Host] | None = None,
        *,
        weights: Mapping[str, int] | None = None,
        buckets: int = BUCKETS,
        within: float = 15.0,
    ) -> dict[str, list[int]]:
        """Wait as a cluster does, first of all until those that began at once are all ready.

        The first one that is has all buckets for a moment.
        """
        if self._begins:
            hosts = None if hosts is None else list(hosts)
            eventually(
                lambda: self._under_way(hosts), within=within, what="all daemons to be ready"
            )
            self._begins = False
        return super().settled(hosts, weights=weights, buckets=buckets, within=within)

    def _under_way(self, hosts: Iterable[Host] | None) -> bool:
        seen = {host.name: self.status(host) for host in hosts or self.serving}
        ready = {node["name"] for one in seen.values() for node in one["nodes"] if node["ready"]}
        return set(seen) <= ready and not any(one["draining"] for one in seen.values())

    def answers(self, host: Host) -> bool:
        """Whether the daemon of a host answers."""
        with contextlib.suppress(SystemFaultError):
            return bool(self.status(host))
        return False

    def status(self, host: Host) -> dict[str, Any]:
        """Return what a daemon says of itself."""
        said = host.call(lambda: control.ask(NAME, Show()))
        answer: dict[str, Any] = msgspec.to_builtins(said, str_keys=True)
        return answer


def _remember() -> None:
    files = RunFiles(NAME)
    with files.claimed():
        if files.note() is None:
            files.set_note(time.monotonic_ns())
