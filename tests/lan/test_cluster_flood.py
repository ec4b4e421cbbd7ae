"""A million datagrams that mean nothing, at a daemon, as fast as a client can send them.

Each is counted by kind, or lost in the full socket; no bucket moves, and no client notices, though
the server has no processor but the one of the daemon, which goes before it.

And what somebody without a key recorded, sent again: it makes the daemons say little more, and
cost them little more, than they do anyway.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clusterip.core.lease.timing import SERVE_WITHIN
from clusterip.core.messages.envelope import MAX_DATAGRAM
from clusterip.core.units import SECOND
from lab.cluster import BUCKETS
from lab.wait import eventually
from tests.lan.clusters import Site, in_time, patiently, say, site, watching

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lab.processes import Process
    from lab.topology import Host

PORT = 5407
COUNT = 1_000_000
BATCH = 40
LIMIT = SERVE_WITHIN["default"] / SECOND
SILENCE = 0.4
"""Seconds. A daemon that never rests makes it 0.35 to 1, a shared machine up to 0.2."""
ROOT = Path(__file__).parents[2]
VERSION_AT, KEY_AT, CLUSTER_AT = 4, 5, 6
FRAME = 14 + 20 + 8  # Ethernet, IPv4 without options, UDP
KINDS = {
    *("truncated", "oversized", "bad magic", "wrong version", "wrong cluster"),
    *("unknown key", "bad MAC", "replayed", "own"),
}
GOOD = {"accepted", "unproven", "command"}


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site() as made:
        yield made


def recorded(web: Site, host: Host, *which: str) -> list[bytes]:
    """Return datagrams that went to and from a host, as its port at the switch saw them."""
    file = web.lan.directory / "recorded.pcap"
    command = ("tcpdump", "-i", host.name, "-s", "0", "-c", "60", "-Z", "root", "-w", str(file))
    web.lan.switch.run(*command, "udp", "port", str(PORT), *which)
    raw, found, at = file.read_bytes(), [], 24
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at + 8)
        found.append(raw[at + 16 + FRAME : at + 16 + length])
        at += 16 + length
    return found


def bad_input(real: list[bytes], chance: random.Random) -> list[list[bytes]]:
    """Return batches of datagrams of one length, of every kind of what is no message."""

    def changed(one: bytes, at: int, length: int = 1) -> bytes:
        other = bytes(byte ^ chance.randrange(1, 256) for byte in one[at : at + length])
        return one[:at] + other + one[at + length :]

    by_length: dict[int, list[bytes]] = {}
    for one in real:
        by_length.setdefault(len(one), []).append(one)
    batches = []
    for (most, every), _ in itertools.product(by_length.items(), range(20)):
        alike = (every * BATCH)[:BATCH]
        short = chance.randrange(1, most)
        length = chance.randrange(1, MAX_DATAGRAM)
        more = chance.randbytes(MAX_DATAGRAM + 1 - most + chance.randrange(50))
        batches += [
            alike,
            [one[:short] for one in alike],
            [chance.randbytes(length) for _ in alike],
            [one + more for one in alike],
            [changed(one, VERSION_AT) for one in alike],
            [changed(one, KEY_AT) for one in alike],
            [changed(one, CLUSTER_AT, 8) for one in alike],
            [changed(one, chance.randrange(14, len(one))) for one in alike],
        ]
    return batches


def received(web: Site, host: Host) -> Counter[str]:
    return Counter(web.cluster.status(host)["messages"]["received"])


def lost_in_socket(host: Host) -> int:
    """Return how many datagrams found the daemon's socket full."""
    told = host.call(Path("/proc/thread-self/net/udp").read_text)
    rows = [line.split() for line in told.splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1].endswith(f":{PORT:04X}"))


def test_a_million_datagrams(web: Site) -> None:
    host = web.lan.hosts[1]
    file = web.lan.directory / "bad-input"
    chance = random.Random(5407)
    batches = bad_input(recorded(web, host), chance)
    file.write_text("\n".join(" ".join(one.hex() for one in batch) for batch in batches))

    def scenario() -> None:
        held = web.cluster.settled()
        before, lost = received(web, host), lost_in_socket(host)
        starved = web.cluster.status(host)["alarms"]
        with apart_from(host), watching(web, 200) as watch:
            flood = web.lan.client.start(
                *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.lan.flooder"),
                *(str(file), host.address, str(PORT), str(COUNT)),
            )
            shortest = shortest_lease(web, host, flood)
            flood.wait_output("sent", within=60.0)
            now = web.cluster.held()
        seen, after = watch.seen, received(web, host)
        counted = {kind: after[kind] - before[kind] for kind in KINDS}
        say(f"measured: {flood.output.strip()}, lost in the socket {lost_in_socket(host) - lost}")
        say(f"measured: counted {counted}, shortest lease {shortest} s")
        say(f"measured: alarms {starved} -> {web.cluster.status(host)['alarms']}")
        assert now == held
        assert seen.last_move == 0
        seen.nothing_broke()
        assert set(after) <= KINDS | GOOD
        assert all(counted.values()), counted
        sent = int(re.search(r"sent (\d+)", flood.output)[1])  # type: ignore[index]
        # The rest was lost on the way here: the queues of a network are short.
        assert sent / 3 < sum(counted.values()) <= sent
        in_time("flood: longest gap", seen.gaps.longest, SILENCE)

    patiently(web, scenario)


@contextlib.contextmanager
def apart_from(host: Host) -> Iterator[None]:
    """Give a host one processor, and what this thread starts meanwhile the others."""
    every = os.sched_getaffinity(0)
    assert len(every) > 1, "this needs two processors"
    host.confine({min(every)})
    os.sched_setaffinity(0, every - {min(every)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)
        host.confine(every)


def shortest_lease(web: Site, host: Host, flood: Any) -> float:
    """Watch a daemon while it is flooded; returns the shortest that its lease had left."""
    shortest = 1.0

    def over() -> bool:
        nonlocal shortest
        shortest = min(shortest, web.cluster.status(host)["lease_seconds"])
        return not flood.running

    eventually(over, within=60.0, what="the flood to end")
    return shortest


RATE = 400
"""Datagrams a second, to each host."""
SECONDS = 5
MORE_MESSAGES = 2.5
"""How many times as many messages as in quiet: an answer each interval, and some for the rest."""
MORE_PROCESSOR = 8.0
"""How many times as much of a processor as in quiet: each datagram is authenticated, and read."""

Spent = dict[str, tuple[float, int, float]]
"""By host: the time, messages sent and time on a processor; seconds."""


def spent(web: Site, hosts: Iterable[Host]) -> Spent:
    """Return what the daemon of each has spent so far."""
    tick = os.sysconf("SC_CLK_TCK")
    told = {}
    for host in hosts:
        pid = web.cluster.daemon(host).pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        told[host.name] = (
            time.monotonic(),
            web.cluster.status(host)["messages"]["sent"],
            (int(fields[11]) + int(fields[12])) / tick,
        )
    return told


def rates(before: Spent, after: Spent, name: str) -> tuple[float, float]:
    """Return the messages and the share of a processor of a daemon, each a second."""
    seconds, messages, processor = (
        late - early for early, late in zip(before[name], after[name], strict=True)
    )
    return messages / seconds, processor / seconds


def anew(web: Site, *hosts: Host) -> None:
    for host in hosts:
        web.cluster.kill(host)
        web.cluster.start(host)
    web.cluster.settled()


@pytest.fixture(scope="module")
def recordings(web: Site) -> Path:
    """What a host said in two former incarnations, in turn; with what others did, and commands."""
    host = web.lan.hosts[2]
    said_by = ("and", "src", "host", host.address)
    web.cluster.settled()
    incarnations = []
    for _ in range(2):
        anew(web, host)
        incarnations.append(recorded(web, host, *said_by))
    web.lan.hosts[0].clusterip("weight", "100", host.name)
    others = recorded(web, host)
    # Then nobody knows them any more; the host's own come back to it as well.
    anew(web, *web.lan.hosts)
    in_turn = itertools.chain.from_iterable(zip(*incarnations, others, strict=True))
    file = web.lan.directory / "recordings"
    file.write_text("\n".join(one.hex() for one in in_turn))
    return file


@pytest.fixture(scope="module")
def calm(web: Site, recordings: Path) -> dict[str, tuple[float, float]]:
    """By host: messages and share of a processor of its daemon in quiet, each a second."""
    assert recordings
    web.cluster.settled()
    before, ends = spent(web, web.lan.hosts), time.monotonic() + SECONDS
    eventually(lambda: time.monotonic() > ends, within=2 * SECONDS, what="a quiet time")
    after = spent(web, web.lan.hosts)
    return {host.name: rates(before, after, host.name) for host in web.lan.hosts}


def sent_again(web: Site, recordings: Path, hosts: Iterable[Host]) -> list[Process]:
    """Send the recordings to each of these, RATE a second, for SECONDS."""
    return [
        web.lan.client.start(
            *("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.lan.flooder"),
            *(str(recordings), one.address, str(PORT), str(RATE * SECONDS), str(RATE)),
        )
        for one in hosts
    ]


def little_more(begun: Spent, flooded: Spent, calm: dict[str, tuple[float, float]]) -> None:
    """Assert that daemons said and took little more between the two than in quiet."""
    for name in begun:
        (messages, processor), more = calm[name], rates(begun, flooded, name)
        say(f"measured: {name} quiet {calm[name]}, flooded {more}")
        assert more[0] <= MORE_MESSAGES * messages
        in_time(f"recordings: processor of {name}", more[1], MORE_PROCESSOR * processor)


def test_recordings_of_a_host_that_lives(
    web: Site, recordings: Path, calm: dict[str, tuple[float, float]]
) -> None:
    hosts = web.lan.hosts

    def scenario() -> None:
        held = web.cluster.settled()
        with watching(web, 200) as watch:
            begun, floods = spent(web, hosts), sent_again(web, recordings, hosts)
            for flood in floods:
                flood.wait_output("sent", within=4.0 * SECONDS)
            flooded = spent(web, hosts)
            now = web.cluster.held()
        assert now == held
        watch.seen.nothing_broke()
        little_more(begun, flooded, calm)

    patiently(web, scenario)


def test_recordings_of_a_host_that_dies_meanwhile(
    web: Site, recordings: Path, calm: dict[str, tuple[float, float]]
) -> None:
    """Its lease ends as if nothing of it were heard; and nothing is granted to it any more."""
    host = web.lan.hosts[2]
    others = web.others(host)

    def scenario() -> None:
        if not web.cluster.running(host):
            web.cluster.start(host)
        web.cluster.settled()
        with watching(web, 200) as watch:
            begun, floods = spent(web, others), sent_again(web, recordings, others)
            flooding = time.monotonic() + SECONDS
            web.cluster.kill(host)
            held = web.cluster.settled()
            assert time.monotonic() < flooding, "its buckets are taken over while it goes on"
            for flood in floods:
                flood.wait_output("sent", within=4.0 * SECONDS)
            flooded = spent(web, others)
            now = web.cluster.held()
        assert now == held
        assert sum(map(len, held.values())) == BUCKETS
        for one in others:
            assert not web.node(one, host)["alive"]
        for number, seconds in watch.seen.silences(host).items():
            in_time(f"recordings: bucket {number} silent", seconds, LIMIT)
        watch.seen.only_broke(host)
        little_more(begun, flooded, calm)

    patiently(web, scenario)
