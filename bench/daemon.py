"""What a daemon costs that has nothing to do: processor time, and the size of its messages.

Its logic alone is measured beside it, without sockets and an event loop: `bench.logic`. So is what
it costs that somebody looks: one asks for the status as often as it is made, one follows events.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.logic import share_of, status_of
from bench.results import Result
from lab.cluster import Cluster, cluster_file
from lab.topology import lab
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.topology import Host

_CLUSTERS: Final = ((3, "default"), (8, "default"), (32, "relaxed"))
"""With 32 at the default profile two cores that run them all are full: the logic alone tells."""
_LOGIC: Final = (3, 8, 32)
_AIMS: Final = {3: 1.0, 8: 1.5}
_AIM_OF_LOGIC: Final = {32: 2.0}
_AIMS_OF_STATUS: Final = {3: 0.2, 32: 1.0}
_STATUS: Final = "status and journal"
_LOOKED_AT: Final = 3
"""Nodes of the cluster one of whose daemons is looked at."""
_LOOKING: Final = """
import time
from clusterip.adapters.statusclient import StatusClient
with StatusClient("web") as client:
    while True:
        client.status()
        time.sleep(0.05)
"""
_BUCKETS: Final = 120
_SECONDS: Final = 10.0
_BEGIN_SECONDS: Final = 2.0
_MESSAGES: Final = 20
_PORT: Final = 5407


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure clusters of several sizes; the values are one for each daemon, or message."""
    results = []
    for nodes in _LOGIC if ours else ():
        share, each = share_of(nodes)
        subject = f"clusterip default, {nodes} nodes"
        aim = _AIM_OF_LOGIC.get(nodes)
        measure = "processor of its logic alone"
        results.append(Result("daemon", measure, subject, "%", [share], at_most=aim))
        say(f"daemon: {nodes} nodes, the logic alone: {share:.2f} % of a core, {each:.0f} us each")
    for nodes, profile in _CLUSTERS if ours else ():
        try:
            shares, sizes = _measure(nodes, profile)
        except TimeoutError as error:
            say(f"daemon: {nodes} nodes, {profile}: too much for this machine: {error}")
            continue
        subject = f"clusterip {profile}, {nodes} nodes"
        aim = _AIMS.get(nodes) if profile == "default" else None
        measure = "processor of one daemon"
        results.append(Result("daemon", measure, subject, "%", shares, at_most=aim))
        results.append(Result("daemon", "message, UDP payload", subject, "bytes", sizes))
        cost = f"{results[-2].median:.2f} % of a core, {results[-1].median:.0f} bytes a message"
        say(f"daemon: {nodes} nodes, {profile}: {cost}, all daemons {sum(shares):.0f} %")
    return [*results, *_status(runs, say)] if ours else results


def _status(runs: int, say: Callable[[str], None]) -> list[Result]:
    """Measure what status and journal cost: of a daemon that is looked at, and of the logic."""
    results = []
    most, least = max(_AIMS_OF_STATUS), _LOOKED_AT
    for nodes, measure, values in (
        (least, _STATUS, _looked_at(runs)),
        (least, f"{_STATUS}, logic alone", [status_of(least)]),
        (most, f"{_STATUS}, logic alone", [status_of(most)]),
    ):
        subject, aim = f"clusterip default, {nodes} nodes", _AIMS_OF_STATUS[nodes]
        results.append(Result("daemon", measure, subject, "%", values, at_most=aim))
        say(f"daemon: {nodes} nodes, {measure}: {statistics.median(values):.3f} % of a core")
    return results


def _looked_at(runs: int) -> list[float]:
    """Return for each round what a daemon takes more while somebody looks, in percent."""
    found = []
    with lab(hosts=_LOOKED_AT) as lan:
        cluster = Cluster(lan, cluster_file(lan, buckets=_BUCKETS))
        cluster.start_all()
        eventually(lambda: _shared(cluster), within=120.0, what="all buckets to be shared")
        host = lan.hosts[0]
        pid = cluster.daemon(host).pid
        for _ in range(runs):
            without = _share(pid)
            looking = [
                host.start(sys.executable, "-c", _LOOKING),
                host.start("clusterip", "events", "--follow"),
            ]
            time.sleep(_BEGIN_SECONDS)
            found.append(_share(pid) - without)
            if not all(one.running for one in looking):
                raise RuntimeError("who looks at the daemon ended")
            for one in looking:
                one.stop()
    return found


def _share(pid: int) -> float:
    """Return the share of a processor that a process takes for some seconds, in percent."""
    began, before = time.monotonic(), spent(pid)
    time.sleep(_SECONDS)
    return 100 * (spent(pid) - before) / (time.monotonic() - began)


def _measure(nodes: int, profile: str) -> tuple[list[float], list[float]]:
    with lab(hosts=nodes) as lan:
        cluster = Cluster(lan, cluster_file(lan, profile=profile, buckets=_BUCKETS))
        cluster.start_all()
        eventually(lambda: _shared(cluster), within=120.0, what="all buckets to be shared")
        pids = [cluster.daemon(host).pid for host in lan.hosts]
        began, before = time.monotonic(), [spent(pid) for pid in pids]
        time.sleep(_SECONDS)
        after, lasted = [spent(pid) for pid in pids], time.monotonic() - began
        shares = [100 * (a - b) / lasted for b, a in zip(before, after, strict=True)]
        return shares, _sizes(lan.hosts[0])


def _shared(cluster: Cluster) -> bool:
    """Whether every node has its share, as one of them sees it: to ask all would be a load."""
    nodes = cluster.status(cluster.hosts[0])["nodes"]
    held = [len(node["held"]) for node in nodes]
    whole, rest = divmod(_BUCKETS, len(cluster.hosts))
    return sum(held) == _BUCKETS and min(held) >= whole and max(held) <= whole + bool(rest)


def spent(pid: int) -> float:
    """Return the processor time of a process in seconds, in user space and in the kernel.

    It is that of the threads which run: those of a daemon that is up stay.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((one / "schedstat").read_text().split()[0]) for one in threads) / 1e9


def _sizes(host: Host) -> list[float]:
    """Return the lengths of messages that the host sends."""
    sent = f"udp and src host {host.address} and dst port {_PORT}"
    words = ("tcpdump", "-n", "-q", "-i", "eth0", "-c", str(_MESSAGES), *sent.split())
    told = host.run(*words).stdout
    return [float(length) for length in re.findall(r"UDP, length (\d+)", told)]
