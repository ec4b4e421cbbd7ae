"""Clients at work while the demonstration does something to the hosts, and what they saw."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from clusterip.core.lease.timing import SERVE_WITHIN
from clusterip.core.units import SECOND
from lab.capture import capturing, two_answers
from lab.cluster import BUCKETS
from lab.gaps import Gaps, Hashing, SynGaps, flows_by_bucket
from lab.load import LiveConnections
from lab.servers import HTTP_PORT
from lab.topology import VIP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.cluster import Member
    from lab.gaps import GapReport, Stream, SynReport
    from lab.load import Connection, LoadReport
    from lab.processes import Process
    from lab.topology import Lab

SYN_ACK: Final = f"tcp[tcpflags]&(tcp-syn|tcp-ack)==(tcp-syn|tcp-ack) and src host {VIP}"
_AHEAD: Final = -10


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard clients work, and the profile by which the hosts must be in time meanwhile.

    There are so many `connections` that two hosts of three are sure to have `least`, whatever the
    ports that the client's kernel picks: of 600 it is 400 on average, 12 more or less as a rule.
    On each there is a request every `asking` seconds. Each bucket gets a datagram every `interval`
    seconds, a new connection every twelfth time. By hand, so many single `requests` are made.
    """

    profile: str
    connections: int
    interval: float
    asking: float = 1.0
    requests: int = 300

    @property
    def least(self) -> int:
        """Connections that live through whatever happens to one host, at the least."""
        return self.connections // 2

    @property
    def limit(self) -> float:
        """Seconds within which others serve the buckets of a host that is gone."""
        return SERVE_WITHIN[self.profile] / SECOND


PROMISED: Final = Pace("default", 600, 0.02)
"""As the README has it."""
SLOW: Final = Pace("relaxed", 150, 0.05)
"""Where a daemon may be late by tenths of a second, as in software emulation."""
SLOWEST: Final = Pace("relaxed", 90, 0.25, asking=3.0, requests=100)
"""Where the clients are emulated too: there they get the processor before most of the others do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients saw: the connections that stayed open, new ones, and single datagrams."""

    load: LoadReport
    gaps: GapReport
    syns: SynReport

    def broken_with(self, hosts: Sequence[Member]) -> list[Connection]:
        """Return the broken connections that one of these hosts had; those nobody had count too."""
        names = {host.name for host in hosts}
        return [one for one in self.load.broken if not one.hosts or names & set(one.hosts)]

    def had(self, hosts: Sequence[Member]) -> int:
        """Return how many of the connections one of these hosts had."""
        names = {host.name for host in hosts}
        return sum(bool(names & set(one.hosts)) for one in self.load.connections)

    def taken_from(self, giver: Member) -> dict[int, tuple[str, float]]:
        """Return for each bucket that a host had who took it, and how many seconds later."""
        return {
            stream.bucket: next(
                (one.taker, one.seconds) for one in stream.handovers if one.giver == giver.name
            )
            if stream.handovers
            else ("", stream.longest)
            for stream in self.gaps.streams
            if _began_at(stream, giver)
        }

    def longest_kept_from(self, giver: Member) -> float:
        """Return the longest silence of the buckets that a host did not have, in seconds."""
        return max(one.longest for one in self.gaps.streams if not _began_at(one, giver))


def _began_at(stream: Stream, host: Member) -> bool:
    return stream.hosts[:1] == [host.name]


class Watch:
    """The clients, at work. `broken` may be asked meanwhile, `seen` and `twice` after the end."""

    def __init__(self, lab: Lab, pace: Pace) -> None:
        client, hashing = lab.client, Hashing(BUCKETS)
        self._live = LiveConnections(client, VIP, count=pace.connections, interval=pace.asking)
        self.at = self._live.wait_ready()
        self._gaps = Gaps(client, VIP, hashing, interval=pace.interval)
        self._syns = SynGaps(client, VIP, hashing, interval=12 * pace.interval)
        # Late themselves, they would call the hosts late.
        for pid in (self._gaps.pid, self._syns.pid):
            os.setpriority(os.PRIO_PROCESS, pid, _AHEAD)
        self._seen: Seen | None = None
        self.twice = 0
        """How many SYNs were answered by several hosts."""

    def broken(self) -> int:
        """Return how many connections broke so far."""
        return len(self._live.broken())

    def stop(self) -> None:
        """Have each connection asked once more, and end all."""
        if self._seen is None:
            load = self._live.stop()
            self._seen = Seen(load, self._gaps.stop(), self._syns.stop())

    @property
    def seen(self) -> Seen:
        """What the clients saw."""
        if self._seen is None:
            raise RuntimeError("the clients are still at work")
        return self._seen


@contextlib.contextmanager
def watching(lab: Lab, pace: Pace = PROMISED) -> Iterator[Watch]:
    """Have clients at work for the body, and tcpdump beside them."""
    with capturing(lab.client, SYN_ACK) as capture:
        watch = Watch(lab, pace)
        try:
            yield watch
        finally:
            watch.stop()
    watch.twice = len(two_answers(capture, VIP))


def download(lab: Lab, buckets: Sequence[int], rate: int, seconds: int) -> tuple[str, Process]:
    """Start a download in one of the buckets, `rate` KiB a second; return what was typed, and it.

    It prints its status and how many bytes came.
    """
    client, hashing = lab.client, Hashing(BUCKETS)
    flows = flows_by_bucket(client.addresses, iter(client.fresh_port, None), hashing, HTTP_PORT)
    numbered = zip(itertools.cycle(range(1, BUCKETS + 1)), flows, strict=False)
    source, port = next(flow for bucket, flow in numbered if bucket in buckets)
    line = (
        f"curl --silent --show-error --output file --interface {source} --local-port {port}"
        f" --range 0-{rate * 1024 * seconds - 1} --write-out '%{{http_code}} %{{size_download}}\\n'"
        f" 'http://{VIP}/large?rate={rate}k'"
    )
    return line, client.start("sh", "-c", f"exec {line}")
