"""A host dies: how long until another one answers its clients.

Measured at the client, by a datagram every 5 ms: from the last answer of the dead host to the
first answer of another, for keepalived of the VIP, for clusterip of each bucket the host had.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bench.peers import keepalived, kill_keepalived
from bench.results import Result
from lab.cluster import BUCKETS, Cluster, cluster_file
from lab.gaps import Gaps, Hashing
from lab.servers import UDP_PORT, nginx
from lab.topology import VIP, lab
from lab.traffic import flows, udp_answers
from lab.wait import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.gaps import GapReport
    from lab.topology import Host, Lab

_INTERVAL: Final = 0.005
_BEFORE: Final = 0.5  # seconds of measuring before the death
_KEEPALIVED_WITHIN: Final = 6.0
_WITHIN: Final = {"fast": 1.0, "default": 2.5, "relaxed": 9.0}
_LINK, _DAEMON = "host gone (link down)", "daemon killed (link up)"


def run(runs: int, say: Callable[[str], None], *, ours: bool) -> list[Result]:
    """Measure all of it."""
    results = [_keepalived(runs, say)]
    if ours:
        for profile in _WITHIN:
            results += _clusterip(profile, runs, say)
    return results


def _keepalived(runs: int, say: Callable[[str], None]) -> Result:
    seconds: list[float] = []
    with lab(hosts=2) as lan:
        master, backup = lan.hosts
        for host in lan.hosts:
            nginx(host)
        keepalived(backup, master=False)
        for number in range(runs):
            process = keepalived(master, master=True)
            _await_answer(lan, master)
            gaps = Gaps(lan.client, VIP, Hashing(total=1), interval=_INTERVAL)
            _wait_until_death(number, runs)
            kill_keepalived(process)
            _cut(master)
            time.sleep(_KEEPALIVED_WITHIN)
            seconds += _silences(gaps.stop(), master)
            say(f"failover: keepalived, run {number + 1} of {runs}: {seconds[-1]:.3f} s")
            # What a boot would do: the VIP is nobody's but the backup's when the link comes up.
            master.run("ip", "address", "del", f"{VIP}/16", "dev", "eth0")
            _mend(master)
    return Result("failover", _LINK, "keepalived", "s", seconds)


def _clusterip(profile: str, runs: int, say: Callable[[str], None]) -> list[Result]:
    found: dict[str, list[float]] = {_LINK: [], _DAEMON: []}
    with lab(hosts=3) as lan:
        for host in lan.hosts:
            nginx(host)
        cluster = Cluster(lan, cluster_file(lan, profile=profile))
        cluster.start_all()
        for number in range(runs):
            host = lan.hosts[number % len(lan.hosts)]
            for measure in found:
                cluster.settled(within=30.0)
                gaps = Gaps(lan.client, VIP, Hashing(total=BUCKETS), interval=_INTERVAL)
                _wait_until_death(number, runs)
                if measure == _LINK:
                    _cut(host)
                else:
                    cluster.kill(host)
                time.sleep(_WITHIN[profile])
                new = _silences(gaps.stop(), host)
                found[measure] += new
                if measure == _LINK:
                    _mend(host)
                else:
                    cluster.start(host)
                worst = f"{max(new):.3f} s at worst of {len(new)} buckets"
                say(f"failover: clusterip {profile}, {measure}, run {number + 1}: {worst}")
    return [
        Result("failover", measure, f"clusterip {profile}", "s", seconds)
        for measure, seconds in found.items()
    ]


def _wait_until_death(number: int, runs: int) -> None:
    """Have the deaths fall evenly on the second from one of keepalived's messages to the next.

    Its first one comes as it takes over, which is also what a run waits for.
    """
    time.sleep(_BEFORE + number / runs)


def _silences(report: GapReport, dead: Host) -> list[float]:
    """Return for each bucket that the dead host had how long nobody answered."""
    had = [stream for stream in report.streams if dead.name in stream.hosts]
    silences = [
        next((one.seconds for one in stream.handovers if one.giver == dead.name), None)
        for stream in had
    ]
    if not had or None in silences:
        raise RuntimeError(f"{dead.name} died, and nobody took over all that it had")
    return [seconds for seconds in silences if seconds is not None]


def _await_answer(lan: Lab, host: Host) -> None:
    """Wait until the VIP is answered by that host, and has been for a moment."""

    def answers() -> bool:
        told = udp_answers(lan.client, flows(lan.client, VIP, UDP_PORT, 3), within=0.2)
        return all(one == [host.name] for one in told)

    eventually(answers, within=20.0, what=f"{host.name} to answer for {VIP}")


def _cut(host: Host) -> None:
    host.run("ip", "link", "set", "eth0", "down")


def _mend(host: Host) -> None:
    host.run("ip", "link", "set", "eth0", "up")
