"""The lab's instruments, held against rules that say what must be seen."""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import frames
from lab.capture import capturing, two_answers
from lab.cluster import cluster_file, is_fair
from lab.gaps import Gaps, Hashing, Stream, SynGaps
from lab.load import LiveConnections, live_connections, start_download
from lab.servers import LARGE_BYTES
from lab.topology import VIP
from lab.wait import eventually
from lab.wrk import Wrk, parse, wrk
from tests.lan.cluster import Sharing, share
from tests.lan.clusters import in_time
from tests.lan.test_one_answer import naively
from tests.second_tries import twice_at_most

if TYPE_CHECKING:
    from lab.topology import Lab

SHARING = Sharing()
HASHING = Hashing(SHARING.total, SHARING.mode, SHARING.hash_init)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take_from_h3(lan: Lab) -> None:
    """Move bucket 3 to host 2 by hand, which ends its connections."""
    lan.hosts[2].clusterip("bucket", VIP, "-3")
    lan.hosts[1].clusterip("bucket", VIP, "+3")


def test_a_thousand_connections_none_breaks_and_the_cost_is_small(lan: Lab) -> None:
    share(lan, SHARING)
    live = LiveConnections(lan.client, VIP, count=1000)
    hosts = live.wait_ready()
    began, spent = time.monotonic(), cpu_seconds(live.pid)
    time.sleep(2)
    assert cpu_seconds(live.pid) - spent < 0.3 * (time.monotonic() - began)
    report = live.stop()
    assert len(report.connections) == 1000
    assert report.broken == []
    assert report.moved == []
    assert report.by_host == hosts
    for one in report.connections:
        assert one.hosts == [f"h{SHARING.bucket_of(one.source, one.port)}"]
        assert one.answers >= 3
    assert 0 < report.longest < 3


def test_the_connections_that_break_are_told(lan: Lab) -> None:
    share(lan, SHARING)
    with live_connections(lan.client, VIP, count=100, interval=0.2) as live:
        held = live.wait_ready()
        moved = time.monotonic()
        take_from_h3(lan)
        eventually(lambda: len(live.broken()) >= held["h3"], what="resets by the new host")
        report = live.stop()
    assert {one.broken for one in report.broken} == {"reset"}
    assert len(report.broken) == held["h3"]
    assert {tuple(one.hosts) for one in report.broken} == {("h3",)}
    assert min(one.broken_at for one in report.broken) > moved


def test_silence_is_told(lan: Lab) -> None:
    share(lan, SHARING)
    with live_connections(lan.client, VIP, count=60, interval=0.2, patience=0.5) as live:
        held = live.wait_ready()
        lan.hosts[2].clusterip("bucket", VIP, "-3")
        eventually(lambda: len(live.broken()) >= held["h3"], what="silence of a bucket")
        assert {one.broken for one in live.stop().broken} == {"silent"}


def test_a_download_lasts_as_long_as_it_should(lan: Lab) -> None:
    share(lan, SHARING)
    began = time.monotonic()
    download = start_download(lan.client, VIP, rate="100k", length=200_000)
    download.wait_output("206 200000", within=10)
    assert time.monotonic() - began > 0.9
    start_download(lan.client, VIP, rate="").wait_output(f"206 {LARGE_BYTES}", within=20)


def bucket_3_moves(lan: Lab) -> None:
    """From h3 to h2; for a while nobody has it, and for a while all is quiet before and after."""
    time.sleep(0.5)
    lan.hosts[2].clusterip("bucket", VIP, "-3")
    time.sleep(0.3)
    lan.hosts[1].clusterip("bucket", VIP, "+3")
    time.sleep(0.5)


def test_gaps_of_datagrams(lan: Lab) -> None:
    twice_at_most(partial(gaps_of_datagrams, lan))


def gaps_of_datagrams(lan: Lab) -> None:
    share(lan, SHARING)
    gaps = Gaps(lan.client, VIP, HASHING)
    bucket_3_moves(lan)
    report = gaps.stop()
    first, second, third = report.streams
    in_time("longest gap of what stays", max(first.longest, second.longest), 0.3)
    assert report.owners == {1: "h1", 2: "h2", 3: "h2"}
    assert [host for _, host in third.order] == ["h3", "h2"]
    (handover,) = third.handovers
    assert handover.seconds == third.longest == report.longest > 0.3
    assert third.unanswered > 20
    for stream in (first, second):
        assert set(stream.hosts) == {f"h{stream.bucket}"}
        assert stream.sent == pytest.approx(len(stream.times), abs=1)
        assert stream.sent > 80
    assert report.excess == 0


def test_answers_of_several_hosts_are_in_excess(lan: Lab) -> None:
    naively(lan)
    gaps = Gaps(lan.client, VIP, HASHING)
    time.sleep(0.3)
    report = gaps.stop()
    for stream in report.streams:
        assert stream.excess == pytest.approx(2 * stream.sent, abs=6)
        assert set(stream.hosts) == {"h1", "h2", "h3"}


def stream(hosts: list[str], numbers: list[int]) -> Stream:
    times = [0.01 * number for number in range(len(hosts))]
    return Stream(1, "10.9.1.11", 20001, 4, 0.0, 1.0, times, hosts, numbers)


def test_a_late_answer_is_no_way_back() -> None:
    (handover,) = stream(["h1", "h2", "h1", "h2"], [0, 2, 1, 3]).handovers
    assert (handover.giver, handover.taker) == ("h1", "h2")
    back = stream(["h1", "h2", "h1", "h2"], [0, 1, 2, 3]).handovers
    assert [one.taker for one in back] == ["h2", "h1", "h2"]


def test_a_lost_datagram_does_not_make_up_for_a_second_answer() -> None:
    told = stream(["h1", "h1", "h2", "h1"], [0, 1, 1, 3])
    assert (told.excess, told.unanswered) == (1, 1)


def test_gaps_of_connections(lan: Lab) -> None:
    twice_at_most(partial(gaps_of_connections, lan))


def gaps_of_connections(lan: Lab) -> None:
    share(lan, SHARING)
    gaps = SynGaps(lan.client, VIP, HASHING)
    bucket_3_moves(lan)
    report = gaps.stop()
    in_time("longest gap of what stays", max(report.longest[1], report.longest[2]), 0.3)
    assert report.failed == []
    # A SYN that is lost is sent again after a second.
    lost = [one for one in report.attempts if one.seconds > 0.9]
    assert 4 <= len(lost) <= 40  # of two commands and what is between them
    assert {one.bucket for one in lost} == {3}
    assert Counter(one.bucket for one in report.attempts)[1] >= 20


def test_one_answer_and_several_to_a_syn(lan: Lab) -> None:
    share(lan, SHARING)
    with capturing(lan.client, "tcp[tcpflags] & tcp-syn != 0") as capture:
        assert wrk(lan.client, VIP, 1, connections=16, keepalive=False).requests > 100
    assert two_answers(capture, VIP) == []
    # h1 answers what is h2's as well.
    lan.hosts[0].clusterip("bucket", VIP, "+2")
    with capturing(lan.client, "tcp[tcpflags] & tcp-syn != 0") as capture:
        gaps = SynGaps(lan.client, VIP, HASHING)  # wrk would not begin after a reset
        time.sleep(1)
        gaps.stop()
    found = two_answers(capture, VIP)
    assert found
    assert {one.macs for one in found} == {(lan.hosts[0].mac, lan.hosts[1].mac)}
    assert {SHARING.bucket_of(one.source, one.source_port) for one in found} == {2}


def test_wrk_counts_and_nothing_fails(lan: Lab) -> None:
    share(lan, SHARING)
    report = wrk(lan.client, VIP, 1)
    assert report.requests > 100
    assert report.errors == 0
    assert report.seconds >= 1


def test_wrk_is_told_to_finish(lan: Lab) -> None:
    share(lan, SHARING)
    running = Wrk(lan.client, VIP, 60)
    time.sleep(1)
    report = running.finish()
    assert report.requests > 100
    assert report.errors == 0
    assert 0.5 < report.seconds < 30


def test_what_wrk_prints_of_errors() -> None:
    report = parse(
        "  120 requests in 1.50m, 1.2MB read\n"
        "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
        "  Non-2xx or 3xx responses: 7\n"
    )
    assert (report.requests, report.seconds) == (120, 90.0)
    assert (report.connect, report.read, report.write, report.timeout) == (1, 20, 300, 4000)
    assert report.not_2xx == 7
    assert report.errors == 4328
    with pytest.raises(RuntimeError, match="no summary"):
        parse("unable to connect")


def test_a_large_capture_is_read_fast(tmp_path: Path) -> None:
    vip, client = bytes([10, 9, 0, 100]), bytes([10, 9, 1, 1])

    def syn_ack(host: int, port: int, isn: int, second: int = 0) -> bytes:
        ethernet = b"\2\0\0\0\1\1" + bytes([2, 0, 0, 0, 0, host]) + b"\x08\0"
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, vip, client)
        tcp = struct.pack(">HHIIBBHHH", 80, port, 9, (isn + 1) % (1 << 32), 0x50, 0x12, 0, 0, 0)
        return struct.pack("<IIII", second, 500_000, 54, 54) + ethernet + ip + tcp

    records = [syn_ack(1 + number % 3, number % 60000, number) for number in range(300_000)]
    records += [syn_ack(host, 5, 0xFFFFFFFF, at) for host, at in ((1, 6), (1, 7), (2, 8), (2, 9))]
    file = tmp_path / "c1.pcap"
    file.write_bytes(bytes(24) + b"".join(records))
    began = time.monotonic()
    found = frames.two_answers(file, VIP)
    assert time.monotonic() - began < 10
    macs = ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert found == [frames.TwoAnswers("10.9.1.1", 5, 0xFFFFFFFF, macs, 8.5)]


def test_the_configuration_is_one_that_is_accepted(lan: Lab) -> None:
    file = cluster_file(
        lan,
        profile="fast",
        stop="drain",
        drain_timeout="10s",
        weights={"h1": 50},
        witness="h3",
        checks=[{"type": "http", "port": 80, "body": "h"}, {"type": "tcp", "port": 8080}],
    )
    for host in lan.hosts:
        host.clusterip("check", "--node", host.name, str(file))


def test_what_is_fair() -> None:
    equal = {"h1": 100, "h2": 100}
    assert is_fair({"h1": [1, 2], "h2": [3]}, equal, 3)
    assert not is_fair({"h1": [1, 2], "h2": [3, 3]}, equal, 3)
    assert not is_fair({"h1": [1, 2], "h2": []}, equal, 3)
    assert not is_fair({"h1": [1, 2, 3], "h2": [4]}, equal, 4)
    assert is_fair({"h1": [1], "h2": [2, 3]}, {"h1": 50, "h2": 100}, 3)
    assert is_fair({"h1": [1, 2], "h2": []}, {"h1": 100}, 2)
    assert not is_fair({"h1": [1], "h2": [2]}, {"h1": 100}, 2)
