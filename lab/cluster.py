"""Daemons on the hosts of the lab: their configuration, their life, and what they say of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from lab.topology import VIP
from lab.wait import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from lab.processes import Process
    from lab.topology import Host, Lab

BUCKETS = 12


class Member(Protocol):
    """What the configuration file and a client know of a host, whatever it is made of."""

    @property
    def name(self) -> str:
        """Its host name."""

    @property
    def address(self) -> str:
        """The address that its daemon sends from."""


def cluster_file(
    lab: Lab,
    *,
    name: str = "cluster.toml",
    vips: Iterable[str] = (VIP,),
    hosts: Iterable[Member] | None = None,
    hashmode: str = "",
    services: Sequence[Mapping[str, Any]] = (),
    weights: Mapping[str, int] | None = None,
    witness: str = "",
    checks: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> Path:
    """Write a configuration file for the hosts, all of the lab's by default, and a key file.

    `hashmode` and the [[vip.service]]s `services` are those of all VIPs; `settings` are keys of
    [cluster], such as `profile`, `stop`, `drain_timeout` or `quorum`; `weights` are by the host's
    name, `witness` is the name of the host that only votes, and each of `checks` is a [[check]].
    The key file of the lab is made once, so that a second configuration has the same.
    """
    members: list[Member] = list(lab.hosts if hosts is None else hosts)
    key = lab.directory / "cluster.key"
    if not key.exists():
        lab.hosts[0].clusterip("keygen", str(key))
    cluster = {"name": "web", "interface": "eth0", "key_file": str(key), "buckets": BUCKETS}
    # Datagrams that measure who answers a bucket are to meet its new owner at once.
    cluster["udp_watch"] = "0s"
    lines = _table("[cluster]", cluster | settings)
    for vip in vips:
        lines += _table("[[vip]]", {"address": vip} | ({"hashmode": hashmode} if hashmode else {}))
        for service in services:
            lines += _table("[[vip.service]]", service)
    for host in members:
        node: dict[str, Any] = {"name": host.name, "address": host.address}
        if host.name in (weights or {}):
            node["weight"] = (weights or {})[host.name]
        if host.name == witness:
            node["witness"] = True
        lines += _table("[[node]]", node)
    for check in checks:
        lines += _table("[[check]]", check)
    file = lab.directory / name
    file.write_text("\n".join(lines) + "\n")
    return file


def _table(heading: str, values: Mapping[str, Any]) -> list[str]:
    # Texts, numbers, booleans and arrays of them are written the same in JSON and in TOML.
    return [heading, *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]


class Cluster:
    """A daemon on each host of the file, or on some of them. They end with the lab at the latest.

    The daemons bring the VIPs themselves.
    """

    def __init__(self, lab: Lab, file: Path) -> None:
        self.lab = lab
        self.file = file
        nodes = tomllib.loads(file.read_text())["node"]
        self._witnesses = {node["name"] for node in nodes if node.get("witness")}
        names = {node["name"] for node in nodes}
        self.hosts = [host for host in lab.hosts if host.name in names]
        self._daemons: dict[str, Process] = {}
        self._paused: set[str] = set()

    def start(self, host: Host) -> Process:
        """Start the daemon of a host and wait until it answers."""
        if self.running(host):
            raise RuntimeError(f"{host.name} has a daemon already")
        verb = "witness" if host.name in self._witnesses else "run"
        daemon = host.start("clusterip", verb, "--config", str(self.file), "--node", host.name)
        self._daemons[host.name] = daemon

        def answers() -> bool:
            if not daemon.running:
                raise RuntimeError(f"the daemon of {host.name} ended: {daemon.output}")
            # A command that asks takes time from one that starts; so not before it says a word.
            return bool(daemon.output) and self.answers(host)

        eventually(answers, within=PATIENCE, what=f"the daemon of {host.name} to answer")
        return daemon

    def answers(self, host: Host) -> bool:
        """Whether the daemon of a host answers."""
        with contextlib.suppress(RuntimeError):  # refused while it begins
            return any(not one["fault"] for one in host.show().get("clusters", ()))
        return False

    def start_all(self) -> None:
        """Start all daemons at once."""
        self._at_once(self.hosts, self.start)

    def _at_once(self, hosts: Iterable[Host], function: Callable[[Host], object]) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(function, hosts))

    def daemon(self, host: Host) -> Process:
        """Return the newest daemon of a host."""
        return self._daemons[host.name]

    def running(self, host: Host) -> bool:
        """Whether the daemon of a host runs; a paused one does."""
        return host.name in self._daemons and self._daemons[host.name].running

    @property
    def serving(self) -> list[Host]:
        """The hosts whose daemons run, are not paused, and do not only vote."""
        running = [one for one in self.hosts if self.running(one)]
        return [one for one in running if one.name not in self._paused | self._witnesses]

    def stop(self, host: Host, within: float = PATIENCE) -> int:
        """End a daemon as `systemctl stop` does; returns its exit status."""
        return self.daemon(host).stop(within=within)

    def stop_all(self) -> None:
        """End all daemons at once."""
        for host in [one for one in self.hosts if one.name in self._paused]:
            self.resume(host)
        self._at_once([one for one in self.hosts if self.running(one)], self.stop)

    def kill(self, host: Host) -> None:
        """Kill a daemon: it cannot do anything about that."""
        self.daemon(host).stop(signal.SIGKILL)
        self._paused.discard(host.name)

    def kill_all(self) -> None:
        """Kill all daemons that run."""
        for host in self.hosts:
            if self.running(host):
                self.kill(host)

    def pause(self, host: Host) -> None:
        """Stop a daemon in its tracks, as a machine that swaps does."""
        os.kill(self.daemon(host).pid, signal.SIGSTOP)
        self._paused.add(host.name)

    def resume(self, host: Host) -> None:
        """Let a paused daemon go on."""
        os.kill(self.daemon(host).pid, signal.SIGCONT)
        self._paused.discard(host.name)

    def status(self, host: Host) -> dict[str, Any]:
        """Return what `clusterip show --json` says of the cluster on a host."""
        clusters: list[dict[str, Any]] = host.show()["clusters"]
        (cluster,) = clusters
        return cluster

    def held(self, hosts: Iterable[Host] | None = None) -> dict[str, list[int]]:
        """Return the buckets that each host says it holds, by default of those serving."""
        asked = self.serving if hosts is None else hosts
        return {host.name: sorted(self.status(host)["held"]) for host in asked}

    def settled(
        self,
        hosts: Iterable[Host] | None = None,
        *,
        weights: Mapping[str, int] | None = None,
        buckets: int = BUCKETS,
        within: float = 15.0,
    ) -> dict[str, list[int]]:
        """Wait until each bucket is held by exactly one host and shares are fair.

        `hosts` are those that should share, by default those serving; the others serving must
        hold nothing. Returns the buckets of each host.
        """
        sharing = [host.name for host in (self.serving if hosts is None else hosts)]
        weighed = {name: (weights or {}).get(name, 100) for name in sharing}

        def fair() -> dict[str, list[int]]:
            held = self.held()
            return held if is_fair(held, weighed, buckets) else {}

        try:
            return eventually(fair, within=within)
        except TimeoutError:
            raise TimeoutError(f"not settled within {within} s: {self.held()}") from None


def is_fair(held: Mapping[str, list[int]], weights: Mapping[str, int], buckets: int) -> bool:
    """Whether each bucket is held once, and by no host a whole bucket more or less than its share.

    A host that is not in `weights` has no share.
    """
    holders = Counter(itertools.chain.from_iterable(held.values()))
    if holders != Counter(range(1, buckets + 1)):
        return False
    whole = sum(weights.values())
    return all(
        abs(len(mine) * whole - buckets * weights.get(name, 0)) < whole if whole else True
        for name, mine in held.items()
    )
