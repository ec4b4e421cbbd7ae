"""Clusters of daemons, and what their clients see while something happens to them.

`watching` has clients of every kind at work, and asserts for each scenario what must hold in all
of them: no SYN was answered by two hosts, no datagram twice.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.capture import capturing, two_answers
from lab.cluster import BUCKETS, Cluster, cluster_file
from lab.gaps import GapReport, Gaps, Hashing, SynGaps, SynReport, flows_by_bucket
from lab.load import LiveConnections, LoadReport
from lab.servers import HTTP_PORT, LARGE_BYTES, nginx, wait_for_listener
from lab.topology import VIP, lab
from lab.wait import eventually
from lab.wrk import Wrk
from tests.lan.asked import Asked
from tests.second_tries import TooSlowError, twice_at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.capture import Capture
    from lab.processes import Process
    from lab.topology import Host, Lab

ALTERNATING = 0.1
UNNOTICED = 0.2
"""Seconds without an answer that a planned move may cost a bucket."""
COOKIES = Path("/run/clusterip-peer")
_AHEAD = -10
_BEHIND = 19
_LAST_SECONDS = 0.3
_SYN_ACK = f"tcp[tcpflags]&(tcp-syn|tcp-ack)==(tcp-syn|tcp-ack) and src host {VIP}"


class AnsweredTwiceError(AssertionError):
    """Two hosts answered one packet: nothing excuses that."""


@contextlib.contextmanager
def blaming_the_machine(where: Site) -> Iterator[None]:
    """Have what goes wrong be a TooSlowError if a daemon says meanwhile that it was starved.

    Hosts that share two processors are late together. What was answered twice stays that.
    """
    before = where.starved()
    try:
        yield
    except AnsweredTwiceError:
        raise
    except (AssertionError, TimeoutError) as error:
        starved = where.starved() - before
        if not starved:
            raise
        raise TooSlowError(f"{starved} times starved: {error}") from error


def patiently(where: Site, scenario: Callable[[], object]) -> None:
    """Run a scenario that may be too slow once, or go wrong once because a daemon was starved."""

    def blamed() -> None:
        with blaming_the_machine(where):
            scenario()

    twice_at_most(blamed)


def say(words: str) -> None:
    """Print what a reader of a failure, or of `pytest -rP`, wants to know."""
    sys.stdout.write(f"{words}\n")


def in_time(what: str, seconds: float, limit: float) -> None:
    """Print what was measured; TooSlowError if it took longer than allowed."""
    say(f"measured: {what}: {seconds:.3f} s of {limit} s")
    if seconds > limit:
        raise TooSlowError(f"{what}: {seconds:.3f} s, more than {limit} s")


@dataclass(frozen=True)
class Site:
    """A lab with a cluster on it."""

    lan: Lab
    cluster: Cluster

    def others(self, host: Host) -> list[Host]:
        """Return the hosts of the cluster but that one."""
        return [one for one in self.cluster.hosts if one is not host]

    def starved(self) -> int:
        """Return how often any daemon so far said that it did not get the processor in time."""
        logs = self.lan.directory.glob("h*-clusterip.log")
        return sum(log.read_text().count("starved: this daemon") for log in logs)

    def write(self, members: Sequence[Host], **settings: Any) -> None:
        """Write the configuration file anew, with these hosts, for daemons to reload."""
        cluster_file(self.lan, hosts=members, **settings)
        self.cluster.hosts = list(members)

    def node(self, seen_by: Host, host: Host) -> dict[str, Any]:
        """Return what one daemon says of a node."""
        nodes: list[dict[str, Any]] = self.cluster.status(seen_by)["nodes"]
        return next(node for node in nodes if node["name"] == host.name)


@contextlib.contextmanager
def site(
    hosts: int = 3,
    *,
    members: int = 0,
    started: Sequence[int] = (),
    booted: bool = False,
    installed: Callable[[Lab], None] | None = None,
    **settings: Any,
) -> Iterator[Site]:
    """Build a lab whose hosts share the VIP.

    Only the first `members` are in the file, only the daemons with numbers in `started` run. With
    `booted` the hosts have no memory of any daemon. What they run is `installed` first, if it is
    not this tree's program.
    """
    with lab(hosts) as lan:
        if installed is not None:
            installed(lan)
        for host in lan.hosts:
            nginx(host)
        file = cluster_file(lan, hosts=lan.hosts[: members or hosts], **settings)
        cluster = Asked(lan, file, booted=booted)
        if not started:
            cluster.start_all()
        for number in started:
            cluster.start(lan.hosts[number - 1])
        cluster.settled(within=30.0)
        try:
            yield Site(lan, cluster)
        finally:
            cluster.kill_all()  # they need not end well: what is left goes with the lab
            for host in cluster.hosts:
                for log in sorted(lan.directory.glob(f"{host.name}-*-clusterip.log")):
                    say(f"---- {log.name}\n{log.read_text()}")


@dataclass(frozen=True)
class Seen:
    """What the clients saw."""

    gaps: GapReport
    load: LoadReport
    syns: SynReport

    @property
    def last_move(self) -> float:
        """When the last bucket changed hosts, CLOCK_MONOTONIC; 0 if none did."""
        moves = [one.first for stream in self.gaps.streams for one in stream.handovers]
        return max(moves, default=0.0)

    @property
    def slowest_syn(self) -> float:
        """How long the slowest new connection took; 1 s and more is a SYN that was lost."""
        return max((one.seconds for one in self.syns.attempts), default=0.0)

    def silences(self, dead: Host) -> dict[int, float]:
        """Return how long each bucket of a host went unanswered, from its last answer on."""
        found = {}
        for stream in self.gaps.streams:
            if dead.name not in stream.hosts:
                continue
            given = [one.seconds for one in stream.handovers if one.giver == dead.name]
            assert len(given) == 1, f"bucket {stream.bucket}: {stream.order}"
            found[stream.bucket] = given[0]
        assert found, f"{dead.name} never answered"
        return found

    def longest_without(self, dead: Host) -> float:
        """Return the longest gap of the buckets that a host did not have."""
        streams = [one for one in self.gaps.streams if dead.name not in one.hosts]
        return max(one.longest for one in streams)

    def nothing_broke(self) -> None:
        """Assert that every connection stands, and that every new one came about."""
        broken = Counter((one.broken, *one.hosts) for one in self.load.broken)
        failed = Counter((one.failure, one.bucket) for one in self.syns.failed)
        gaps = {one.bucket: round(one.longest, 3) for one in self.gaps.streams}
        assert not broken, f"{dict(broken)}; gaps {gaps}"
        assert self.load.moved == []
        assert not failed, f"{dict(failed)}; gaps {gaps}"

    def only_broke(self, dead: Host) -> None:
        """Assert that no connection broke but those that a host had."""
        broken = Counter((one.broken, *one.hosts) for one in self.load.broken)
        assert {host for _, *hosts in broken for host in hosts} <= {dead.name}, dict(broken)
        assert all(hosts for _, *hosts in broken), dict(broken)
        assert self.load.moved == []


class Watch:
    """Clients at work: datagrams and new connections to each bucket, and live connections."""

    def __init__(self, where: Site, connections: int, hash_init: int, interval: float) -> None:
        client, hashing = where.lan.client, Hashing(BUCKETS, hash_init=hash_init)
        self._live = LiveConnections(client, VIP, count=connections)
        self.at = self._live.wait_ready()
        self._gaps = Gaps(client, VIP, hashing, interval=interval)
        self._syns = SynGaps(client, VIP, hashing, interval=0.12)
        # Being late themselves they would call the cluster late.
        for pid in (self._gaps.pid, self._syns.pid):
            os.setpriority(os.PRIO_PROCESS, pid, _AHEAD)
        self._seen: Seen | None = None

    def broken(self) -> int:
        """Return how many live connections broke so far."""
        return len(self._live.broken())

    def stop(self) -> Seen:
        """Stop the clients, when each bucket was asked a few times more."""
        if self._seen is None:
            time.sleep(_LAST_SECONDS)
            gaps = self._gaps.stop()
            self._seen = Seen(gaps, self._live.stop(), self._syns.stop())
        return self._seen

    @property
    def seen(self) -> Seen:
        """What they saw; for after their end."""
        assert self._seen is not None
        return self._seen


@contextlib.contextmanager
def watching(
    where: Site, connections: int = 300, *, hash_init: int = 0, interval: float = 0.01
) -> Iterator[Watch]:
    """Have clients at work for the body. After it, no two hosts may have answered one packet."""
    with capturing(where.lan.client, _SYN_ACK) as capture:
        watch = Watch(where, connections, hash_init, interval)
        try:
            yield watch
        finally:
            watch.stop()
    answered_once(watch.seen, capture)


def answered_once(seen: Seen, capture: Capture) -> None:
    """Raise AnsweredTwiceError if anything was answered twice, as far as a client can tell."""
    twice = two_answers(capture, VIP)
    if twice or seen.gaps.excess:
        raise AnsweredTwiceError(f"SYNs: {twice}; datagrams: {seen.gaps.excess}")
    for stream in seen.gaps.streams:
        for one, two in itertools.pairwise(stream.handovers):
            # Each host answering some of the datagrams is not an excess.
            if one.giver == two.taker and two.first - one.last < ALTERNATING:
                raise AnsweredTwiceError(f"bucket {stream.bucket} alternates: {stream.order}")


def load_with_wrk(where: Site, seconds: int) -> Wrk:
    """Start wrk with what the processors have left: it takes all that it is given."""
    running = Wrk(where.lan.client, VIP, seconds, connections=12)
    os.setpriority(os.PRIO_PROCESS, running._process.pid, _BEHIND)
    return running


def download_from(where: Site, host: Host, seconds: float, rate: int = 256) -> Process:
    """Start a download at `rate` KiB a second, of about that many seconds, that a host serves.

    It prints `206 BYTES` at its end, with the number of `download_bytes`.
    """
    client = where.lan.client
    wanted = set(where.cluster.status(host)["held"])
    ports = iter(client.fresh_port, None)
    hashing = Hashing(BUCKETS)
    source, port = next(
        flow
        for flow in flows_by_bucket(client.addresses, ports, hashing, HTTP_PORT)
        if hashing.bucket(*flow, HTTP_PORT) in wanted
    )
    return client.start(
        *("curl", "--silent", "--show-error", "--output", "/dev/null"),
        *("--interface", source, "--local-port", str(port)),
        *("--range", f"0-{download_bytes(seconds, rate) - 1}"),
        *("--write-out", "%{http_code} %{size_download}\n"),
        f"http://{VIP}/large?rate={rate}k",
    )


def download_bytes(seconds: float, rate: int = 256) -> int:
    """Return how long the download of that many seconds is."""
    return min(int(seconds * rate * 1024), LARGE_BYTES)


# ---- ssh ----

_SSHD = """\
ListenAddress 0.0.0.0
HostKey {base}.hostkey
AuthorizedKeysFile {base}.login.pub
StrictModes no
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
SetEnv ANSWERED_BY={name}
"""
_TYPING = """\
i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done | ssh -F none -i {base}.login \
-o BatchMode=yes -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR \
root@{vip} 'echo at $ANSWERED_BY; exec cat'
"""


def sshd(where: Lab) -> None:
    """Start an SSH server on each host, all with one throw-away host key and login key."""
    base = where.directory / "ssh"
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it does not start without
    for key in ("hostkey", "login"):
        command = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{base}.{key}")
        where.client.run(*command)
    for host in where.hosts:
        config = where.directory / f"{host.name}-sshd.conf"
        config.write_text(_SSHD.format(base=base, name=host.name))
        host.start("/usr/sbin/sshd", "-D", "-e", "-f", str(config))
        wait_for_listener(host, 22)


class SshSession:
    """Somebody logged in through the VIP, who types a number every 0.2 s; it is typed back."""

    def __init__(self, where: Site) -> None:
        base = where.lan.directory / "ssh"
        self._process = where.lan.client.start("sh", "-c", _TYPING.format(base=base, vip=VIP))
        self._process.wait_output("at ", within=20.0)
        self._process.wait_output("\n1\n", within=20.0)
        self.host = self._process.output.split()[1]

    @property
    def last(self) -> int:
        """The last number that was typed back; all before it were, and in order."""
        head, _, typed = self._process.output.partition("\n")
        numbers = [int(line) for line in typed[: typed.rfind("\n") + 1].split()]
        assert (head, numbers) == (f"at {self.host}", list(range(1, len(numbers) + 1)))
        return len(numbers)

    def end(self) -> None:
        """Log out."""
        self._process.stop()


def all_go_on(sessions: Sequence[SshSession]) -> None:
    """Wait until what is typed from now on comes back in each of the sessions."""
    typed = [session.last for session in sessions]
    for session, last in zip(sessions, typed, strict=True):
        eventually(lambda: session.last > last + 2, within=10.0, what="ssh to answer")  # noqa: B023


def ssh_session_at(where: Site, host: Host) -> SshSession:
    """Log in again and again until it is that host; which one it is the source port decides."""
    for _ in range(60):
        session = SshSession(where)
        if session.host == host.name:
            return session
        session.end()
    raise AssertionError(f"no session came to {host.name}")
