"""Who reads the status socket of a daemon costs its lease nothing, and follows its restarts."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.cluster import Cluster, cluster_file
from lab.topology import lab
from lab.wait import eventually
from tests.lan.clusters import Site, in_time, patiently, say, site
from tests.lan.pesterers import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.topology import Host

SECONDS = 4.0
PESTERERS = str(Path(__file__).with_name("pesterers.py"))
SLACK = 0.1
"""By how much, s, the shortest of the leases that were looked at may differ by chance."""


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site(status_group="daemon") as made:
        yield made


def lease(host: Host) -> float:
    words = (PESTERERS, "lease", str(SECONDS))
    told = host.run(sys.executable, *words).stdout
    return float(told.split()[1])


def pid_of(web: Site, host: Host) -> int:
    pid: int = web.cluster.status(host)["pid"]
    return pid


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_mean_no_good(web: Site, kind: str) -> None:
    host = web.lan.hosts[0]

    def pestered() -> None:
        before, held = web.cluster.status(host), web.cluster.held()
        without = lease(host)
        pest = host.start(sys.executable, PESTERERS, kind)
        try:
            pest.wait_output("pesters", within=60.0)
            shortest = lease(host)
            # Root has its place among them.
            (newest,) = host.clusterip("events", "--last", "1").stdout.splitlines()
            assert newest
        finally:
            pest.stop(signal.SIGKILL)
        say(f"measured: {kind}: shortest lease {shortest:.3f} s, without {without:.3f} s")
        after = web.cluster.status(host)
        assert after["alarms"] == before["alarms"]
        assert after["pid"] == before["pid"]
        assert web.cluster.held() == held
        in_time(f"{kind}: lease lost", without - shortest, SLACK)

    patiently(web, pestered)


def test_the_server_is_bounded(web: Site) -> None:
    host = web.lan.hosts[0]
    pid = pid_of(web, host)
    (server,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{server}/status").read_text()
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", fields)[0])
    say(f"measured: the server had {peak} kB at most")
    assert peak < 64 * 1024
    assert len(list(Path(f"/proc/{server}/fd").iterdir())) < 80


def lines(process: Any) -> list[dict[str, Any]]:
    return [json.loads(one) for one in process.output.splitlines() if one.startswith("{")]


def test_events_are_followed_over_a_restart_and_to_the_end(web: Site) -> None:
    host = web.lan.hosts[1]
    process = host.start("clusterip", "events", "--follow", "--json")

    def kinds() -> list[str]:
        return [one["event"]["kind"] for one in lines(process)]

    eventually(lambda: "started" in kinds(), within=20.0, what="the first events")
    host.clusterip("restart")
    eventually(lambda: "restarted" in kinds(), within=20.0, what="the successor's events")
    host.clusterip("drain")
    eventually(lambda: "drain-ended" in kinds(), within=20.0, what="the drain")
    web.lan.hosts[2].clusterip("undrain", host.name)
    eventually(lambda: "buckets-taken" in kinds()[-3:], within=20.0, what="the buckets")
    asked = [one["event"] for one in lines(process) if one["event"]["kind"] == "commanded"]
    assert [(one["what"], one.get("by")) for one in asked] == [
        ("restart", None),
        ("drain", None),
        ("undrain", web.lan.hosts[2].name),
    ]
    numbers = [one["seq"] for one in lines(process)]
    assert numbers == list(range(1, len(numbers) + 1))
    # The log has the same lines.
    log = web.cluster.daemon(host).output
    for one in lines(process):
        assert one["text"] in log
    web.cluster.kill(host)
    eventually(lambda: not process.running, within=10.0, what="it to end")
    assert "the daemon of cluster web ended" in process.output


def test_ctrl_c_and_a_reader_who_is_gone() -> None:
    with lab(hosts=1) as lan:
        cluster = Cluster(lan, cluster_file(lan, quorum="majority"))
        (host,) = lan.hosts
        cluster.start_all()
        process = host.start("clusterip", "events", "--follow")
        eventually(lambda: "cluster web: node" in process.output, within=20.0, what="an event")
        assert process.stop(signal.SIGINT) in (0, 130, -signal.SIGINT)
        assert "Traceback" not in process.output
        told = host.run("sh", "-c", "clusterip events | head -n 1").stdout
        assert "cluster web: node" in told
        # One that ends as it was told to says so.
        process = host.start("clusterip", "events", "--follow")
        eventually(lambda: "cluster web: node" in process.output, within=20.0, what="an event")
        assert cluster.stop(host) == 0
        eventually(lambda: not process.running, within=10.0, what="it to end")
        assert "ended, as it was told to" in process.output
