"""The daemon as a process, in a network namespace of its own, alone in its cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.clock import boottime
from clusterip.adapters.memory import RunFiles
from clusterip.cli.main import main
from clusterip.core.errors import RefusedError, SystemFaultError, UsageError
from tests.cli.conftest import environment
from tests.namespaces import ip, tc
from tests.runtime.places import WITNESS, Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")


def test_it_starts_serves_and_leaves_nothing_behind(place: Place) -> None:
    before = place.traces()
    daemon = place.serving()
    assert "10.9.0.100/32" in ip("-4 address show dev eth0")
    assert "clusterip" in tc("filter show dev eth0 ingress")
    seen = place.show()
    assert (seen["cluster"], seen["node"], seen["pid"]) == ("web", "web1", daemon.process.pid)
    assert (seen["file"], seen["witness"], seen["in_control"]) == (str(place.file), False, True)
    assert seen["voters_waiting_for"] == ""
    assert runfiles.running() == ("web",)
    assert daemon.stop() == 0
    assert place.told() == "STOPPING=1"
    assert place.traces() == before
    assert runfiles.running() == ()
    assert "Traceback" not in daemon.said


def test_show(place: Place) -> None:
    place.serving()
    words = (sys.executable, "-m", "clusterip.cli.main", "show")
    text = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True)
    assert "cluster web: node web1, profile fast, quorum majority" in text.stdout
    assert "held here: 1-4" in text.stdout
    done = subprocess.run((*words, "--json"), env=environment(), capture_output=True, check=True)
    document = json.loads(done.stdout)
    (cluster,) = document["clusters"]
    assert cluster["fault"] is None
    assert cluster["held"] == [1, 2, 3, 4]
    assert cluster["connections"] == {}
    assert [one["cluster"] for one in document["interfaces"]] == ["web"]


def test_a_first_start_waits_for_promises_it_may_have_forgotten(place: Place) -> None:
    daemon = place.ready()
    assert place.show()["held"] == []
    note = RunFiles("web").note()
    assert note is not None
    assert note - place.show()["started"] > 4 * 10**9
    assert daemon.stop() == 0


def test_what_a_killed_one_left_is_taken_over(place: Place) -> None:
    daemon = place.serving()
    incarnation = place.show()["boot"]
    daemon.process.kill()
    daemon.ended()
    before = place.traces()
    assert runfiles.running() == ()
    place.ready()
    assert place.traces() == before
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert place.show()["boot"] != incarnation


def test_reload_by_signal(place: Place) -> None:
    daemon = place.serving()
    place.change('profile = "fast"', 'profile = "fast"\nstop = "drain"\ndrain_timeout = "7s"')
    daemon.tell(signal.SIGHUP)
    daemon.await_line("reloaded: stop: release -> drain; drain_timeout: ")
    daemon.tell(signal.SIGHUP)
    daemon.await_line("reloaded: no change in the file, nor of the keys")
    assert place.show()["held"] == [1, 2, 3, 4]
    # With nobody to take them a stop does not wait.
    assert daemon.stop() == 0
    assert "nobody is there to take the buckets" in daemon.said


def test_a_drain_that_nobody_takes_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.serving()
    assert main(["drain", "--wait"]) == 1
    assert "no other node takes the buckets of web1" in capsys.readouterr().err
    assert place.show()["leaving"] is False
    assert place.show()["held"] == [1, 2, 3, 4]


def test_reload_of_weight_and_checks(place: Place) -> None:
    place.serving()
    place.ask("weight", value=3)
    assert place.show()["nodes"][0]["weight"] == 3
    check = '[[check]]\nname = "never"\ntype = "command"\ncommand = ["/bin/false"]\n'
    place.change('name = "web1"\n', f'name = "web1"\nweight = 9\n{check}')
    assert place.ask("reload")["changes"] == [
        "node web1 weight: 100 -> 9",
        "check never: added",
    ]
    # The file has the last word.
    assert place.show()["nodes"][0]["weight"] == 9
    until(lambda: place.show()["checks"][0]["good"] is False)
    seen = place.show()
    assert not seen["healthy"]
    # All that there are being unhealthy is no reason to serve nothing.
    assert seen["held"] == [1, 2, 3, 4]


def test_a_reload_that_cannot_be_changes_nothing(place: Place) -> None:
    daemon = place.serving()
    before, seen = place.traces(), place.show()
    for old, new, said in (
        ("[cluster]", "[cluster", "not TOML"),
        ('profile = "fast"', 'profile = "warp"', "profile"),
        ("buckets = 4", "buckets = 8", "buckets: hosts with the old and with the new file"),
        ("buckets = 4", "buckets = 4\nport = 99", "port: hosts with the old one"),
        ('name = "web1"', 'name = "other"', "the file has no node web1 any more"),
        ("/keys", "/no-keys", "no-keys: cannot be read: No such file"),
    ):
        place.change(old, new)
        with pytest.raises((RefusedError, SystemFaultError, UsageError), match=said):
            place.ask("reload")
        told = len(daemon.said)
        daemon.tell(signal.SIGHUP)
        until(lambda: "not reloaded: " in daemon.said[told:])  # noqa: B023 - called here
        assert said in daemon.said[told:]
        now = place.show()
        for key in ("boot", "digest", "profile", "total", "held", "voters", "vips"):
            assert now[key] == seen[key]
        assert place.traces() == before


def held_since(place: Place) -> list[float]:
    """Return since when each bucket is held, in seconds since the host was booted."""
    seen = place.show()["buckets"]
    assert {(one["state"], one["from"]) for one in seen} == {("owned", None)}
    return [boottime() / 1e9 - one["since_seconds"] for one in seen]


@pytest.mark.parametrize("way", ["signal", "command"])
def test_a_restart_is_the_same_incarnation(place: Place, way: str) -> None:
    daemon = place.serving()
    before, seen, since = place.traces(), place.show(), held_since(place)
    if way == "signal":
        daemon.tell(signal.SIGUSR2)
    else:
        assert place.ask("restart") == {}
    assert place.told().startswith("READY=1\n")
    now = place.show()
    assert now["boot"] == seen["boot"]
    assert now["started"] > seen["started"]
    assert now["pid"] == daemon.process.pid
    assert now["held"] == [1, 2, 3, 4]
    assert held_since(place) == pytest.approx(since, abs=0.1)
    assert place.traces() == before
    daemon.await_line("taking over from the daemon before, buckets and all")
    assert daemon.stop() == 0


def test_a_restart_keeps_what_commands_said(place: Place) -> None:
    daemon = place.serving()
    place.ask("weight", value=3)
    place.ask("drain")
    daemon.tell(signal.SIGUSR2)
    assert place.told().startswith("READY=1\n")
    seen = place.show()
    assert seen["leaving"]
    assert seen["nodes"][0]["weight"] == 3


def test_a_restart_with_a_broken_file_does_not_begin(place: Place) -> None:
    daemon = place.serving()
    started = place.show()["started"]
    place.change("[cluster]", "[cluster")
    with pytest.raises(UsageError, match="not TOML"):
        place.ask("restart")
    daemon.tell(signal.SIGUSR2)
    daemon.await_line("not restarting: ")
    seen = place.show()
    assert (seen["started"], seen["restarting"]) == (started, False)
    assert seen["held"] == [1, 2, 3, 4]


def test_no_restart_with_a_file_that_no_reload_would_take(place: Place) -> None:
    daemon = place.serving()
    before = place.show()
    place.change("buckets = 4", "buckets = 8")
    daemon.tell(signal.SIGUSR2)
    until(lambda: "not restarting: buckets: hosts with the old" in daemon.said)
    after = place.show()
    assert (after["boot"], after["started"]) == (before["boot"], before["started"])
    assert after["total"] == 4


_GOES_AFTER_A_TRIAL = """#!/bin/bash
if [[ "$*" == *--version ]]; then rm "$0"; fi
exec -a "$0" {python} "$@"
"""


def test_where_the_program_went_there_is_no_restart(place: Place) -> None:
    before = place.traces()
    memory = RunFiles("web")
    with memory.claimed():
        memory.set_note(boottime())
    python = place.folder / "bin" / "python"
    python.parent.mkdir()
    # It goes when the trial of it has ended well.
    python.write_text(_GOES_AFTER_A_TRIAL.format(python=sys.executable))
    python.chmod(0o755)
    (place.folder / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    (place.folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    daemon = place.ready(python=str(python))
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    seen = place.show()
    daemon.tell(signal.SIGUSR2)
    daemon.await_line(f"no restart, all goes on: cannot start {python}: No such file or directory")
    until(lambda: place.show()["refused_restarts"] == 1)
    # Where it is missing before, nothing is begun.
    daemon.tell(signal.SIGUSR2)
    why = f"the program that is installed now does not start: {python}: No such file or directory"
    daemon.await_line(f"not restarting: {why}")
    now = place.show()
    for key in ("boot", "started", "held"):
        assert now[key] == seen[key]
    assert RunFiles("web").take_handover() is None
    # When it is there again the restart is one like any other.
    python.symlink_to(sys.executable)
    daemon.tell(signal.SIGUSR2)
    place.await_status("READY=1")
    now = place.show()
    assert (now["boot"], now["held"]) == (seen["boot"], seen["held"])
    assert now["started"] > seen["started"]
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.said
    assert place.traces() == before


def test_one_daemon_of_a_cluster(place: Place) -> None:
    place.serving()
    before = place.traces()
    second = place.start()
    assert second.ended() == 3
    assert "the daemon of cluster web runs here already" in second.said
    assert place.traces() == before
    assert place.show()["held"] == [1, 2, 3, 4]


def test_the_carrier_goes_and_comes_back(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.serving()
    assert place.show()["faults"] == []
    ip("link set wire down")
    until(lambda: place.show()["held"] == [])
    (fault,) = place.show()["faults"]
    assert (fault["code"], fault["what"]) == ("no-carrier", "eth0 has no carrier")
    assert fault["why"] == "this host serves nothing through it until it has one"
    assert fault["cure"].startswith("look at its cable")
    for words in (["show"], ["show", "--json"], ["check", str(place.file), "--node", "web1"]):
        assert main(words) == 1
        assert "eth0 has no carrier" in "".join(capsys.readouterr())
    ip("link set eth0 down")
    assert place.show()["faults"] == [
        {
            "severity": "fault",
            "code": "interface-down",
            "what": "eth0 is down",
            "why": "this host serves nothing through it until it is up",
            "cure": "ip link set eth0 up",
        }
    ]
    ip("link set eth0 up")
    ip("link set wire up")
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert place.show()["faults"] == []


def test_another_name_is_said(place: Place) -> None:
    place.serving()
    for words in ("down", "name foo"):
        ip(f"link set eth0 {words}")
    ip("link set foo up")
    until(lambda: len(place.show()["faults"]) == 1)
    (fault,) = place.show()["faults"]
    assert (fault["code"], fault["what"]) == ("renamed", "eth0 is called foo now")
    assert fault["why"] == "a daemon that starts would not find it"
    assert fault["cure"].startswith("give it its name back")
    for words in ("down", "name eth0"):
        ip(f"link set foo {words}")
    ip("link set eth0 up")
    until(lambda: place.show()["faults"] == [])


def test_an_address_to_send_from_goes_and_comes_back(place: Place) -> None:
    place.file.write_text(place.text + WITNESS)
    daemon = place.ready()
    for _ in range(2):
        ip("address delete 10.9.0.1/24 dev eth0")
        until(lambda: place.show()["without_source"])
        ip("address add 10.9.0.1/24 dev eth0")
        until(lambda: not place.show()["without_source"])
    assert daemon.said.count("this host has no address but VIPs to send messages from") == 2
    assert daemon.said.count("this host has an address to send messages from again") == 2


def test_its_address_is_another_hosts(place: Place) -> None:
    place.file.write_text(place.text + 'address = "10.9.0.1"\n')
    daemon = place.ready()
    assert place.show()["faults"] == []
    words = "10.9.0.1, the address of web1 in the file, is none of this host"
    ip("address add 10.9.0.77/24 dev eth0")
    ip("address delete 10.9.0.1/24 dev eth0")
    until(lambda: any(words in one["what"] for one in place.show()["faults"]))
    assert daemon.said.count(words) == 1
    ip("address add 10.9.0.1/24 dev eth0")
    until(lambda: place.show()["faults"] == [])


def test_a_filter_that_somebody_takes_away_comes_back(place: Place) -> None:
    place.serving()
    tc("qdisc delete dev eth0 clsact")
    until(lambda: "clusterip" in tc("filter show dev eth0 ingress"))
    assert place.show()["in_control"]


def test_a_witness(place: Place) -> None:
    before = place.traces()
    place.file.write_text(place.text + WITNESS)
    daemon = place.ready("--node", "judge", verb="witness")
    seen = place.show()
    assert seen["witness"]
    assert (seen["held"], seen["node"]) == ([], "judge")
    assert place.traces() == before
    with pytest.raises(RefusedError, match="judge is a witness"):
        place.ask("drain")
    # Without the other there is no majority to bear with a restart.
    daemon.tell(signal.SIGUSR2)
    daemon.await_line("no majority agreed to a restart in time: going on")
    seen = place.show()
    assert (seen["refused_restarts"], seen["restarting"]) == (1, False)
    assert daemon.stop() == 0
