"""`clusterip show`."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.abi import BucketState, Reason
from clusterip.adapters.clock import boottime
from clusterip.adapters.memory import RunFiles
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.core.packets.state import InterfaceState
from clusterip.core.units import SECOND
from tests.bpf.frames import plain_frame
from tests.cli.answering import answering
from tests.cli.conftest import Commands, Process, environment
from tests.namespaces import ip, send, tc
from tests.served import until

VIP = "10.9.0.100"
RULE = (
    f"-A INPUT -d {VIP}/32 -i eth0 -p udp -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1 --hash-init 7"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def shown(cli: Commands) -> list[dict[str, Any]]:
    interfaces: list[dict[str, Any]] = json.loads(cli.well("show", "--json"))["interfaces"]
    return interfaces


def faulty(cli: Commands) -> tuple[dict[str, Any], list[str]]:
    """Return what is shown where something is wrong: as JSON, and the lines for people."""
    done = cli("show", "--json")
    text = cli("show")
    assert (done.status, text.status, done.err, text.err) == (1, 1, "", "")
    return json.loads(done.out), text.out.splitlines()


def assert_told(fault: dict[str, str], lines: list[str]) -> None:
    """Assert that the lines have a fault, and its cure below it."""
    at = lines.index(f"  fault: {': '.join(filter(None, (fault['what'], fault['why'])))}")
    assert lines[at + 1] == f"  cure: {fault['cure']}"


def test_nothing(cli: Commands) -> None:
    assert cli.well("show") == "nothing is shared in this network namespace\n"
    assert json.loads(cli.well("show", "--json")) == {"format": 1, "clusters": [], "interfaces": []}


def test_the_keys(cli: Commands) -> None:
    ip(f"address add {VIP}/32 dev eth0")
    cli.iptables(RULE)
    (interface,) = shown(cli)
    zeros = {reason.word: 0 for reason in Reason}
    assert interface.pop("ifindex") == socket.if_nametoindex("eth0")
    assert interface == {
        "interface": "eth0",
        "cluster": None,
        "tc": True,
        "xdp": {"mode": "auto", "attached": True, "note": ""},
        "faults": [],
        "warnings": [],
        "vips": [
            {
                "vip": VIP,
                "hashmode": "sourceip",
                "clustermac": "01:00:5E:00:00:20",
                "total_nodes": 3,
                "hash_init": 7,
                "held": [1],
                "lease_seconds": None,
                "buckets": [
                    {"bucket": 1, "state": "owned", "packets": 0, "bytes": 0},
                    {"bucket": 2, "state": "none", "packets": 0, "bytes": 0},
                    {"bucket": 3, "state": "none", "packets": 0, "bytes": 0},
                ],
            }
        ],
        "rules": [
            {
                "rule": RULE,
                "action": "balance",
                "bucket": None,
                "packets": 0,
                "bytes": 0,
                "verdicts": zeros,
            }
        ],
        "verdicts": zeros,
    }


def test_packets_by_bucket_and_verdict(cli: Commands) -> None:
    cli.iptables(RULE)
    frames = [plain_frame(f"192.0.2.{last}", 1, IPv4Address(VIP), 53, 17) for last in range(1, 31)]
    for frame in (*frames, plain_frame("192.0.2.1", 1, IPv4Address(VIP), 80)):
        send(frame)
    until(lambda: sum(shown(cli)[0]["verdicts"].values()) == 31)
    (interface,) = shown(cli)
    counts = [one["packets"] for one in interface["vips"][0]["buckets"]]
    assert sum(counts) == 30
    assert interface["verdicts"]["accept_owned"] == counts[0]
    assert interface["verdicts"]["drop_not_owned"] == counts[1] + counts[2]
    assert interface["verdicts"]["drop_no_rule"] == 1
    (rule,) = interface["rules"]
    assert (rule["packets"], rule["bytes"]) == (30, sum(map(len, frames)))
    text = cli.well("show")
    assert "(30 packets)" in text
    assert "discarded: another host answers" in text
    assert "discarded: no rule covers it" in text
    assert "malformed" not in text


def test_for_people(cli: Commands) -> None:
    ip(f"address add {VIP}/32 dev eth0")
    ip("address add 10.9.0.99/32 dev eth0")
    cli.iptables(RULE)
    cli.iptables(RULE.replace(VIP, "10.9.0.99").replace("00:20", "00:21"))
    lines = cli.well("show").splitlines()
    assert lines[0] == "eth0: tc on, xdp on"
    assert lines[2].split() == [
        "10.9.0.99", "1", "3", "sourceip", "7", "01:00:5e:00:00:21", "not", "needed",
    ]  # fmt: skip
    assert lines[4].startswith(f"  {RULE}")


def test_states_and_leases(cli: Commands, folder: Path) -> None:
    cli.iptables(RULE)
    index = shown(cli)[0]["ifindex"]
    with PinnedMaps(folder).open(index) as maps:
        maps.set_bucket(0, 2, BucketState.TAKING)
        maps.set_bucket(0, 3, BucketState.DRAINING)
        maps.set_deadline(0, 1)
    (vip,) = shown(cli)[0]["vips"]
    assert [one["state"] for one in vip["buckets"]] == ["owned", "taking", "draining"]
    # What has no lease any more answers nothing.
    assert (vip["held"], vip["lease_seconds"]) == ([], 0.0)
    text = cli.well("show")
    assert "none (was: 1; taking 2; draining 3)" in text
    with PinnedMaps(folder).open(index) as maps:
        maps.set_deadline(0, boottime() + 3600 * 10**9)
    assert shown(cli)[0]["vips"][0]["held"] == [1, 2]
    assert " 1; taking 2; draining 3 " in cli.well("show")


@pytest.mark.usefixtures("run_by_daemon")
def test_what_a_daemon_runs(cli: Commands) -> None:
    with answering():
        for last in range(1, 31):
            send(plain_frame(f"192.0.2.{last}", 1, IPv4Address("10.9.0.201"), 80))
        until(lambda: sum(shown(cli)[0]["verdicts"].values()) == 30)
        (interface,) = shown(cli)
        assert interface["cluster"] == "web"
        vips = interface["vips"]
        assert [one["vip"] for one in vips] == ["10.9.0.200", "10.9.0.201"]
        assert [one["held"] for one in vips] == [[2, 3]] * 2
        assert all(3000 < one["lease_seconds"] <= 3600 for one in vips)
        # One table: what is counted by bucket is counted for both.
        assert vips[0]["buckets"] == vips[1]["buckets"]
        assert sum(one["packets"] for one in vips[0]["buckets"]) == 30
        assert [one["packets"] for one in interface["rules"]] == [0, 0, 30]
        assert "--hashmode sourceip " in interface["rules"][1]["rule"]
        lines = cli.well("show").splitlines()
        lines = lines[next(at for at, line in enumerate(lines) if line.startswith("eth0")) :]
        assert lines[0] == "eth0: tc on, xdp on, run by the daemon of cluster web"
        assert [line.split() for line in lines[4:8]] == [
            ["service", "decided", "by", "packets"],
            ["10.9.0.200", "tcp", "80", "sourceip-sourceport", "0"],
            ["10.9.0.200", "all", "sourceip", "0"],
            ["10.9.0.201", "all", "sourceip-sourceport", "30"],
        ]
        assert lines[2].split()[:3] == ["10.9.0.200", "2-3", "01:00:5e:00:00:a8"]
        assert max(map(len, lines)) <= 80
        assert "-j CLUSTERIP" not in "".join(lines)
        whole = cli.well("show", "-v")
        assert whole.count("-j CLUSTERIP") == 3
        assert " 4   sourceip-sourceport, sourceip  0 " in whole
        tc("filter del dev eth0 ingress")
        told, _ = faulty(cli)
        assert "restarting the daemon mends it" in told["interfaces"][0]["faults"][0]["cure"]


@pytest.mark.usefixtures("run_by_daemon")
def test_a_daemon_that_is_dead(cli: Commands, folder: Path) -> None:
    index = socket.if_nametoindex("eth0")
    with PinnedMaps(folder).open(index) as maps:
        maps.set_deadline(0, boottime() - 30 * 10**9)
    told, lines = faulty(cli)
    (cluster,) = told["clusters"]
    assert cluster["cluster"] == "web"
    assert re.fullmatch(
        "no daemon of cluster web runs in this network namespace; this host answers nothing,"
        " since its lease ended 3[0-9] s ago",
        cluster["fault"],
    )
    assert cluster["cure"].startswith("start it: systemctl start clusterip")
    assert lines[0].partition(", since")[0] == f"cluster web: {cluster['fault']}".partition(", ")[0]
    assert lines[1] == f"  cure: {cluster['cure']}"
    assert lines[2] == "eth0: tc on, xdp on, left by the daemon of cluster web"
    assert "none (was: 2-3)" in lines[4]
    assert [vip["held"] for vip in told["interfaces"][0]["vips"]] == [[], []]
    # It answers all, if anything: both must be said, and nothing that is wrong.
    tc("filter del dev eth0 ingress")
    told, _ = faulty(cli)
    assert "answers nothing" not in told["clusters"][0]["fault"]
    assert "nothing is filtered" in told["interfaces"][0]["faults"][0]["why"]


@pytest.mark.usefixtures("run_by_daemon")
def test_a_daemon_that_is_dead_and_has_a_lease(cli: Commands, folder: Path) -> None:
    with PinnedMaps(folder).open(socket.if_nametoindex("eth0")) as maps:
        maps.set_deadline(0, boottime() + 60 * 10**9)
    told, _ = faulty(cli)
    assert re.search(
        "; its lease ends in 5[0-9].[0-9] s, and from then on this host answers nothing",
        told["clusters"][0]["fault"],
    )


@pytest.mark.usefixtures("run_by_daemon")
def test_a_daemon_that_is_dead_and_its_interface_gone(cli: Commands) -> None:
    ip("link del eth0")
    told, lines = faulty(cli)
    assert told["clusters"][0]["fault"] == "no daemon of cluster web runs in this network namespace"
    (fault,) = told["interfaces"][0]["faults"]
    assert fault["what"] == "eth0 is gone, and nothing is answered through it"
    assert_told(fault, lines)
    assert not any("every host answers" in line for line in lines)


def test_rules_whose_interface_is_gone(cli: Commands) -> None:
    cli.iptables(RULE)
    ip("link del eth0")
    told, _ = faulty(cli)
    assert told["interfaces"][0]["faults"] == [
        {
            "severity": "fault",
            "code": "interface-gone",
            "what": "eth0 is gone, and nothing is answered through it",
            "why": "",
            "cure": "`clusterip flush` forgets it",
        }
    ]
    assert cli("flush").status == 0
    cli.well("show")


@pytest.mark.parametrize(
    ("end", "said", "code", "cure"),
    [
        ("wire", "eth0 has no carrier", "no-carrier", "look at its cable"),
        ("eth0", "eth0 is down", "interface-down", "ip link"),
    ],
)
def test_rules_whose_interface_carries_nothing(
    cli: Commands, end: str, said: str, code: str, cure: str
) -> None:
    cli.iptables(RULE)
    ip(f"link set {end} down")
    until(lambda: cli("show").status == 1)
    told, lines = faulty(cli)
    (fault,) = told["interfaces"][0]["faults"]
    assert (fault["severity"], fault["code"], fault["what"]) == ("fault", code, said)
    assert fault["cure"].startswith(cure)
    assert_told(fault, lines)
    ip(f"link set {end} up")
    until(lambda: cli("show").status == 0)


def test_a_witness_that_was_killed(cli: Commands, tmp_path: Path) -> None:
    with RunFiles("web").claimed():
        shutil.copytree(tmp_path, tmp_path.with_name("killed"))
    assert cli.well("show") == "nothing is shared in this network namespace\n"
    shutil.rmtree(tmp_path)
    tmp_path.with_name("killed").rename(tmp_path)
    told, _ = faulty(cli)
    assert [one["fault"] for one in told["clusters"]] == [
        "no daemon of cluster web runs in this network namespace"
    ]
    cli.well("flush")
    assert cli.well("show") == "nothing is shared in this network namespace\n"


@pytest.mark.usefixtures("run_by_daemon")
def test_a_daemon_that_hangs(cli: Commands, tmp_path: Path) -> None:
    with RunFiles("web").claimed(), socket.socket(socket.AF_UNIX) as silent:
        (folder,) = tmp_path.glob("*/web")
        silent.bind(str(folder / "control"))
        silent.listen()
        told, lines = faulty(cli)
    assert told["clusters"][0]["fault"].startswith("the daemon of cluster web does not answer; its")
    assert "run by the daemon of cluster web" in lines[2]


@pytest.mark.parametrize("how", ["busy", "crowded", "without a socket"])
def test_a_daemon_that_cannot_be_asked_and_serves(
    cli: Commands, folder: Path, tmp_path: Path, run_by_daemon: InterfaceState, how: str
) -> None:
    over = threading.Event()

    def renew_once() -> None:
        with PinnedMaps(folder).open(run_by_daemon.index) as maps:
            maps.set_deadline(0, boottime() + SECOND // 2)

    def renew() -> None:
        while not over.wait(0.05):
            renew_once()

    with RunFiles("web").claimed(), ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        (runs,) = tmp_path.glob("*/web")
        if how != "without a socket":
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.bind(str(runs / "control"))
            silent.listen(0 if how == "crowded" else 9)
            first = stack.enter_context(socket.socket(socket.AF_UNIX))
            first.connect(str(runs / "control"))
        renew_once()
        thread.submit(renew)
        try:
            done = cli("show", "--json")
            text = cli("show").out
        finally:
            over.set()
    assert done.status == 1
    told = json.loads(done.out)
    (cluster,) = told["clusters"]
    assert cluster["fault"].endswith("; this host serves all the same: its lease is renewed")
    assert cluster["cure"]
    words = "no command can reach it" if how == "without a socket" else "does not answer"
    assert words in cluster["fault"]
    assert all(0 < vip["lease_seconds"] < 0.6 for vip in told["interfaces"][0]["vips"])
    assert "was:" not in text


@pytest.mark.usefixtures("run_by_daemon")
def test_flush_of_what_a_dead_daemon_left(cli: Commands) -> None:
    cli.well("flush")
    assert cli.well("show") == "nothing is shared in this network namespace\n"


def test_filters_that_vanished_are_a_fault(cli: Commands) -> None:
    cli.iptables(RULE)
    tc("filter del dev eth0 ingress")
    told, lines = faulty(cli)
    (interface,) = told["interfaces"]
    assert interface["tc"] is False
    assert len(interface["faults"]) == 1
    assert "  fault: the tc filters are not attached" in lines[1]
    cli.iptables(RULE)
    assert shown(cli)[0]["faults"] == []


def test_two_interfaces(cli: Commands) -> None:
    cli.iptables(RULE)
    cli.iptables(f"--xdp off {RULE.replace('eth0', 'wire').replace(VIP, '10.9.0.99')}")
    assert {one["interface"]: one["xdp"]["mode"] for one in shown(cli)} == {
        "eth0": "auto",
        "wire": "off",
    }
    assert cli.well("show").count("xdp off") == 1


def test_no_colour_in_a_pipe(cli: Commands, process: Process) -> None:
    cli.iptables(RULE)
    done = process("show")
    assert done.stdout == cli.well("show")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_colour_on_a_terminal(cli: Commands, variables: dict[str, str]) -> None:
    cli.iptables(RULE)
    tc("filter del dev eth0 ingress")
    plain = {k: v for k, v in environment().items() if not k.endswith("COLOR")}
    ours, theirs = pty.openpty()
    command = (sys.executable, "-m", "clusterip.cli.main", "show")
    with subprocess.Popen(
        command, env={**plain, "TERM": "xterm-256color", **variables}, stdout=theirs, stdin=theirs
    ) as child:
        os.close(theirs)
        text = b""
        while b"packets)" not in text:
            text += os.read(ours, 4096)
        assert child.wait() == 1
    os.close(ours)
    assert (b"31m" in text) == (not variables)
    assert (b"\x1b" in text) == (not variables)


@pytest.mark.parametrize("words", [("show", "extra"), ("show", "--bogus")])
def test_words_too_many(cli: Commands, words: tuple[str, ...]) -> None:
    before = cli.everything()
    assert cli(*words).status == 2
    assert cli.everything() == before


def test_a_vip_as_most_have_it_fits_the_width_that_most_have(cli: Commands) -> None:
    cli.iptables(RULE.replace("--hashmode sourceip ", "--hashmode sourceip-sourceport "))
    lines = cli.well("show").splitlines()
    (vip,) = (at for at, line in enumerate(lines) if line.startswith("  10.9.0.100"))
    assert max(map(len, lines[vip - 1 : vip + 1])) <= 80
