"""How long a bucket goes unanswered: a steady stream of datagrams or of new connections to each.

`Gaps` and `SynGaps` run in a process of their own in the client's namespace, lab/gaps_worker.py.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from clusterip.core.packets.hashing import HashMode, bucket_of
from lab.servers import HTTP_PORT, UDP_PORT
from lab.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.topology import Client


@dataclass(frozen=True, slots=True)
class Hashing:
    """How a VIP is shared, as far as a client needs it to meet a bucket.

    With `total` 1 everything falls to bucket 1: for VIPs that are shared in another way.
    """

    total: int = 12
    mode: str = "sourceip-sourceport"
    hash_init: int = 0

    def bucket(self, source: str, source_port: int, port: int) -> int:
        """Return the bucket of a packet."""
        address = int(IPv4Address(source))
        mode = HashMode(self.mode)
        return bucket_of(mode, self.total, self.hash_init, address, source_port, port)


class Handover(NamedTuple):
    """One host's last answer in a row, and the next host's first."""

    giver: str
    last: float
    taker: str
    first: float

    @property
    def seconds(self) -> float:
        """How long nobody answered; below 0 if the giver's last answer came after the first."""
        return self.first - self.last


@dataclass(frozen=True, slots=True)
class Stream:
    """What one bucket answered to datagrams, in order of arrival.

    For each answer its time of arrival (CLOCK_MONOTONIC), the host it names, and the number of the
    datagram it answers, from 0 on.
    """

    bucket: int
    source: str
    port: int
    sent: int
    began: float
    ended: float
    times: list[float]
    hosts: list[str]
    numbers: list[int]

    @property
    def longest(self) -> float:
        """The longest time without an answer, from the first datagram to the last."""
        points = [self.began, *self.times, max(self.ended, *self.times[-1:], self.began)]
        return max(after - before for before, after in itertools.pairwise(points))

    @property
    def excess(self) -> int:
        """How many answers came to datagrams that had been answered."""
        return len(self.numbers) - len(set(self.numbers))

    @property
    def unanswered(self) -> int:
        """How many datagrams no answer came to."""
        return self.sent - len(set(self.numbers))

    @property
    def order(self) -> list[tuple[float, str]]:
        """The hosts in order, each with the time of the first of its answers in a row."""
        runs = itertools.groupby(self._as_asked, key=lambda answer: answer[1])
        return [(next(run)[2], host) for host, run in runs]

    @property
    def handovers(self) -> list[Handover]:
        """Each change from one host to another."""
        return [
            Handover(giver, last, taker, first)
            for (_, giver, last), (_, taker, first) in itertools.pairwise(self._as_asked)
            if giver != taker
        ]

    @property
    def _as_asked(self) -> list[tuple[int, str, float]]:
        """The answers in the datagrams' order: a server may be late with its last one."""
        return sorted(zip(self.numbers, self.hosts, self.times, strict=True))


@dataclass(frozen=True, slots=True)
class GapReport:
    """One stream for each bucket, in order of their numbers."""

    streams: list[Stream]

    @property
    def longest(self) -> float:
        """The longest time that any bucket was not answered."""
        return max(stream.longest for stream in self.streams)

    @property
    def excess(self) -> int:
        """Answers to datagrams that had been answered, over all buckets."""
        return sum(stream.excess for stream in self.streams)

    @property
    def owners(self) -> dict[int, str]:
        """Who answered the last datagram of each bucket, "" for nobody."""
        return {one.bucket: one.order[-1][1] if one.hosts else "" for one in self.streams}


class Gaps:
    """For each bucket a datagram every `interval` seconds to the hosts' UDP server."""

    def __init__(
        self,
        client: Client,
        vip: str,
        hashing: Hashing,
        *,
        port: int = UDP_PORT,
        interval: float = 0.01,
        flows: Sequence[tuple[int, str, int] | tuple[int, str, int, str]] = (),
    ) -> None:
        """Begin; `flows` (bucket, source, source port) are what is asked for each bucket else.

        One may name another address than `vip` to ask, of either IP version.
        """
        flows = flows or _one_each(client, hashing, port)
        self._worker = Worker(
            client,
            "lab.gaps_worker",
            kind="udp",
            vip=vip,
            port=port,
            period=interval / len(flows),
            flows=flows,
        )
        self._worker.wait_ready()

    @property
    def pid(self) -> int:
        """The process that sends."""
        return self._worker.pid

    def stop(self) -> GapReport:
        """Stop sending, wait until it is quiet, and return what was answered."""
        return GapReport([Stream(**line) for line in self._worker.stop(within=60.0)])


class Attempt(NamedTuple):
    """A new connection: `seconds` until it stood, or why it never did."""

    bucket: int
    at: float
    seconds: float
    failure: str


@dataclass(frozen=True, slots=True)
class SynReport:
    """All attempts, in the order in which they began."""

    attempts: list[Attempt]

    @property
    def failed(self) -> list[Attempt]:
        """Those that were refused, reset or not answered in time."""
        return [one for one in self.attempts if one.failure]

    def slower(self, seconds: float) -> list[Attempt]:
        """Return those that took longer, or failed: 1 s and more is a SYN that was lost."""
        return [one for one in self.attempts if one.failure or one.seconds > seconds]

    @property
    def rate(self) -> float:
        """How many were begun a second: fewer than asked for on a machine that is too slow."""
        if len(self.attempts) < 2:
            return 0.0
        return (len(self.attempts) - 1) / (self.attempts[-1].at - self.attempts[0].at)

    @property
    def longest(self) -> dict[int, float]:
        """For each bucket how long the slowest connection took."""
        slowest: dict[int, float] = {}
        for one in self.attempts:
            slowest[one.bucket] = max(one.seconds, slowest.get(one.bucket, 0.0))
        return dict(sorted(slowest.items()))


class SynGaps:
    """For each bucket a new TCP connection every `interval` seconds, ended as soon as it stands.

    It fails if it does not stand within `patience` seconds. Each is ended by a reset, which leaves
    no state on either side.
    """

    def __init__(
        self,
        client: Client,
        vip: str,
        hashing: Hashing,
        *,
        port: int = HTTP_PORT,
        interval: float = 0.05,
        patience: float = 10.0,
    ) -> None:
        self._patience = patience
        self._worker = Worker(
            client,
            "lab.gaps_worker",
            kind="tcp",
            vip=vip,
            port=port,
            period=interval / hashing.total,
            patience=patience,
            addresses=client.addresses,
            hashing=[hashing.total, hashing.mode, hashing.hash_init],
        )
        self._worker.wait_ready()

    @property
    def pid(self) -> int:
        """The process that connects."""
        return self._worker.pid

    def stop(self) -> SynReport:
        """Begin no more, wait for those that are under way, and return all."""
        lines = self._worker.stop(within=self._patience + 60.0)
        return SynReport(sorted((Attempt(*line) for line in lines), key=lambda one: one.at))


def flows_by_bucket(
    sources: Sequence[str], ports: Iterator[int], hashing: Hashing, port: int
) -> Iterator[tuple[str, int]]:
    """Yield sources and ports of the client that fall to buckets 1, 2 .. total, 1, 2 and so on."""
    found: dict[int, list[tuple[str, int]]] = {}
    source = itertools.cycle(sources)
    for wanted in itertools.cycle(range(1, hashing.total + 1)):
        while not found.get(wanted):
            flow = (next(source), next(ports))
            found.setdefault(hashing.bucket(*flow, port), []).append(flow)
        yield found[wanted].pop(0)


def _one_each(client: Client, hashing: Hashing, port: int) -> list[tuple[int, str, int]]:
    ports = iter(client.fresh_port, None)
    flows = flows_by_bucket(client.addresses, ports, hashing, port)
    numbered = enumerate(itertools.islice(flows, hashing.total), 1)
    return [(bucket, *flow) for bucket, flow in numbered]
