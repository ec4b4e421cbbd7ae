"""What a daemon costs that has nothing to do: processor time, and the size of its messages.

Its logic alone is measured beside it, without sockets and an event loop: `bench.logic`.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.logic import share_of
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
_BUCKETS: Final = 120
_SECONDS: Final = 10.0
_MESSAGES: Final = 20
_PORT: Final = 5407


def run(_runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure clusters of several sizes; the values are one for each daemon, or message."""
    results = []
    for nodes in _LOGIC if ours else ():
        share, each = share_of(nodes)
        subject = f"clusterip default, {nodes} nodes"
        results.append(Result("daemon", "processor of its logic alone", subject, "%", [share]))
        say(f"daemon: {nodes} nodes, the logic alone: {share:.2f} % of a core, {each:.0f} us each")
    for nodes, profile in _CLUSTERS if ours else ():
        try:
            shares, sizes = _measure(nodes, profile)
        except TimeoutError as error:
            say(f"daemon: {nodes} nodes, {profile}: too much for this machine: {error}")
            continue
        subject = f"clusterip {profile}, {nodes} nodes"
        results.append(Result("daemon", "processor of one daemon", subject, "%", shares))
        results.append(Result("daemon", "message, UDP payload", subject, "bytes", sizes))
        cost = f"{results[-2].median:.2f} % of a core, {results[-1].median:.0f} bytes a message"
        say(f"daemon: {nodes} nodes, {profile}: {cost}, all daemons {sum(shares):.0f} %")
    return results


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
    """Return the processor time of a process in seconds, utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sizes(host: Host) -> list[float]:
    """Return the lengths of messages that the host sends."""
    sent = f"udp and src host {host.address} and dst port {_PORT}"
    words = ("tcpdump", "-n", "-q", "-i", "eth0", "-c", str(_MESSAGES), *sent.split())
    told = host.run(*words).stdout
    return [float(length) for length in re.findall(r"UDP, length (\d+)", told)]
