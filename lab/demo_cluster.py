"""The demonstration, its second half: a cluster from one file, two deaths, and a drain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from clusterip.core.lease.timing import PROFILES
from clusterip.core.units import SECOND
from lab.cluster import BUCKETS, Cluster, cluster_file
from lab.demo_watch import PROMISED, Pace, Watch, download, watching
from lab.servers import HTTP_PORT
from lab.topology import VIP
from lab.wait import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.processes import Process
    from lab.stage import Stage
    from lab.topology import Host, Lab

_DOWNLOAD_RATE: Final = 256
_DOWNLOAD_SECONDS: Final = 8
_WORK_SECONDS: Final = 0.7
"""For how long the clients work undisturbed before something happens."""
_FILE: Final = "cluster.toml"


def _end_of(*processes: Process) -> None:
    eventually(
        lambda: not any(process.running for process in processes),
        within=PATIENCE,
        what="the download and the drain to end",
    )


def _in_order(download: int, drain: int) -> str:
    return "download, drain" if download <= drain else "drain, download"


class ClusterDemonstration:
    """A daemon on each host of a lab on which nothing is shared."""

    def __init__(self, lab: Lab, stage: Stage, pace: Pace = PROMISED) -> None:
        self.lab = lab
        self.stage = stage
        self.pace = pace

    def one_file(self) -> None:
        """Start a daemon on each host, with one file."""
        stage, first = self.stage, self.lab.hosts[0]
        stage.step("A cluster from one file")
        stage.say(
            "Moves by hand need somebody who is awake. With a daemon on each host, the hosts share"
            f" {BUCKETS} buckets out among themselves. All of them read the same file; a key"
            " keeps strangers out:"
        )
        stage.shell(first, "clusterip keygen cluster.key")
        check = {"type": "tcp", "port": HTTP_PORT}
        profile = self.pace.profile
        settings: dict[str, Any] = {} if profile == PROMISED.profile else {"profile": profile}
        file = cluster_file(self.lab, name=_FILE, checks=[check], **settings)
        self.cluster = Cluster(self.lab, file)
        stage.shell(first, f"cat {_FILE}")
        stage.shell(first, f"clusterip check {_FILE} --node {first.name}")
        stage.say(
            "The daemons add the address, the MAC and the filters themselves. At a first start they"
            " wait for some seconds, longer than any promise can last that was given before:"
        )
        for host in self.lab.hosts:
            stage.started(host, f"clusterip run --config {_FILE} --node {host.name}")
        held = stage.wait("three daemons begin", self._begin)
        stage.shell(first, "clusterip show")
        stage.check(
            "buckets of h1, h2 and h3",
            [BUCKETS // 3] * 3,
            [len(held[host.name]) for host in self.lab.hosts],
        )

    def _begin(self) -> dict[str, list[int]]:
        self.cluster.start_all()
        return self._settled()

    def _settled(self, hosts: Sequence[Host] | None = None) -> dict[str, list[int]]:
        return self.cluster.settled(hosts, within=PATIENCE)

    def killed(self) -> None:
        """Kill the daemon of h3, and start it again."""
        stage, dead = self.stage, self.lab.hosts[2]
        stage.step(f"A daemon is killed: {dead.name}")
        timing = PROFILES[self.pace.profile]
        stage.say(
            f"The kernel answers only while a lease lasts, {timing.lease / SECOND:g} seconds at"
            f" most, which the daemon renews every {timing.interval / SECOND:g} seconds. So without"
            " its daemon a host falls silent before others take over."
            f" {self.pace.connections} connections are open, and new ones come all the time:"
        )

        def kill() -> None:
            stage.shell(dead, f"kill -9 {self.cluster.daemon(dead).pid}")
            self.cluster.kill(dead)

        self._death(dead, kill)
        stage.say(f"The daemon of {dead.name} is started again, as systemd would do:")

        def start() -> None:
            stage.started(dead, f"clusterip run --config {_FILE} --node {dead.name}")
            self.cluster.start(dead)

        self._return(dead, start)

    def unplugged(self) -> None:
        """Pull the cable of h2, and put it back."""
        stage, dead, switch = self.stage, self.lab.hosts[1], self.lab.switch
        stage.step(f"A cable is pulled: {dead.name}")
        stage.say("The same for a host that the network does not reach any more:")
        self._death(dead, lambda: stage.shell(switch, f"ip link set {dead.name} down"))
        stage.say("And the cable is put back:")
        self._return(dead, lambda: stage.shell(switch, f"ip link set {dead.name} up"))

    def drained(self) -> None:
        """Drain h1 while somebody downloads from it."""
        # On h2 and h3 connections are left whose clients were sent away when they were dead.
        stage, giver, asked = self.stage, self.lab.hosts[0], self.lab.hosts[1]
        stage.step(f"A drain: {giver.name} is to be rebooted")
        stage.say(
            f"This time it is planned. Somebody downloads from {giver.name}, which takes"
            f" {_DOWNLOAD_SECONDS} seconds; any host can be asked for the drain:"
        )
        with watching(self.lab, self.pace) as watch:
            held = self.cluster.held()[giver.name]
            line, file = download(self.lab, held, _DOWNLOAD_RATE, _DOWNLOAD_SECONDS)
            stage.started(self.lab.client, line)
            time.sleep(_WORK_SECONDS)
            stage.started(asked, f"clusterip drain --wait {giver.name}")
            drain = asked.start("clusterip", "drain", "--wait", giver.name)
            others = [host for host in self.lab.hosts if host is not giver]
            stage.wait("buckets move", lambda: self._settled(others))
            time.sleep(_WORK_SECONDS)
        stage.wait("the download goes on", lambda: _end_of(file, drain))
        bytes_there = _DOWNLOAD_RATE * 1024 * _DOWNLOAD_SECONDS
        stage.say(f"The download printed `{file.output.strip()}`, the drain:")
        stage.tell(drain.output.strip())
        check = stage.check
        check("download during the drain: status, bytes", f"206 {bytes_there}", file.output.strip())
        # Each wrote its log in one go, at its end.
        ends = [one.log.stat().st_mtime_ns for one in (file, drain)]
        check("what ended first, and what then", "download, drain", _in_order(*ends))
        check("... and said", f"{giver.name} is drained", drain.output.strip())
        self._none_broke("during the drain", watch)
        stage.say(f"After its reboot {giver.name} would take part by itself; here it is told to:")
        stage.shell(asked, f"clusterip undrain {giver.name}")
        stage.wait("buckets return", self._settled)
        stage.say("At the end the daemons are stopped. They take away what they brought:")
        stage.wait("three daemons end", self.cluster.stop_all)
        stage.shell(giver, "ip -brief -4 address show dev eth0")
        left = [host.name for host in self.lab.hosts if VIP in self._addresses(host)]
        check("hosts that have the address after the daemons' end", [], left)

    def _addresses(self, host: Host) -> str:
        return host.run("ip", "-brief", "-4", "address", "show").stdout

    def _death(self, dead: Host, die: Callable[[], object]) -> None:
        """Have a host die under load; the others take its buckets, and lose no connection."""
        stage, others = self.stage, [host for host in self.lab.hosts if host is not dead]
        with watching(self.lab, self.pace) as watch:
            time.sleep(_WORK_SECONDS)
            die()
            stage.wait("the others take over", lambda: self._taken_over(watch, dead, others))
        seen = watch.seen
        stage.table(
            f"Buckets of {dead.name}",
            ("bucket", "taken by", "nobody answered for"),
            [
                (bucket, taker, f"{seconds:.2f} s")
                for bucket, (taker, seconds) in seen.taken_from(dead).items()
            ],
        )
        lost, kept = seen.had([dead]), seen.had(others)
        stage.say(
            f"Of {self.pace.connections} connections, the {lost} that {dead.name} had are lost with"
            f" it. The {kept} others go on. From before it to the end, the longest that any of"
            f" their buckets was silent is {seen.longest_kept_from(dead):.2f} s, pauses of this"
            " machine included."
        )
        longest = max((seconds for _, seconds in seen.taken_from(dead).values()), default=0.0)
        stage.check_at_most(f"{dead.name} dies: nobody answers for", self.pace.limit, longest, "s")
        stage.check_at_least("... connections to the others, alive", self.pace.least, kept)
        stage.check("... connections to the others, broken", 0, len(seen.broken_with(others)))
        stage.check("... SYNs answered twice", 0, watch.twice)
        stage.check("... datagrams answered twice", 0, seen.gaps.excess)

    def _taken_over(self, watch: Watch, dead: Host, others: Sequence[Host]) -> None:
        eventually(lambda: self._all_held(others), within=PATIENCE, what="the others to take over")
        eventually(
            lambda: watch.broken() >= watch.at[dead.name],
            within=PATIENCE,
            what=f"the clients of {dead.name} to be told",
        )

    def _all_held(self, hosts: Sequence[Host]) -> bool:
        held = self.cluster.held(hosts).values()
        return sum(map(len, held)) == BUCKETS

    def _return(self, host: Host, come_back: Callable[[], object]) -> None:
        """Have a host come back under load; it gets its share, and no connection breaks."""
        stage = self.stage
        with watching(self.lab, self.pace) as watch:
            come_back()
            held = stage.wait(f"{host.name} takes its share", self._settled)
            time.sleep(_WORK_SECONDS)
        stage.say(
            f"{host.name} serves buckets {', '.join(map(str, held[host.name]))} again. Connections"
            " that were open in them stay where they are until they end."
        )
        stage.check(f"{host.name} comes back: its buckets", BUCKETS // 3, len(held[host.name]))
        self._none_broke("...", watch)

    def _none_broke(self, when: str, watch: Watch) -> None:
        seen, stage = watch.seen, self.stage
        live = len(seen.load.connections) - len(seen.load.broken)
        stage.check_at_least(f"{when} connections alive", self.pace.least, live)
        stage.check(f"{when} connections broken", 0, len(seen.load.broken))
        stage.check(f"{when} new connections refused", 0, len(seen.syns.failed))
        stage.check(f"{when} SYNs answered twice", 0, watch.twice)
