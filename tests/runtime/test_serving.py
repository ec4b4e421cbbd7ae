"""What a daemon waits for, how it is told to wait no longer, and what it says before it serves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.core.errors import SystemFaultError, UsageError
from clusterip.core.journal import Kept
from clusterip.runtime import serving
from tests.namespaces import ip
from tests.runtime.places import Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")


def seconds_of_processor(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_a_mistyped_interface_is_waited_for(place: Place) -> None:
    place.change('"eth0"', '"eth9"')
    place.environment["WATCHDOG_USEC"] = "200000"
    before = place.traces()
    daemon = place.start()
    told = place.await_status("READY=1")
    assert "STATUS=waiting: there is no interface eth9" in told
    with pytest.raises(
        SystemFaultError, match="the daemon waits: there is no interface eth9"
    ) as no:
        place.show()
    assert "`ip link` lists them" in no.value.cure
    # It does not look again and again, and does not say so again and again.
    said, used = daemon.said, seconds_of_processor(daemon.process.pid)
    assert said.count("waiting") == 1
    for _ in range(10):
        place.await_status("WATCHDOG=1")
    ip("link add other type veth peer name another")
    ip("link delete other")
    for _ in range(10):
        place.await_status("WATCHDOG=1")
    assert daemon.said == said
    assert seconds_of_processor(daemon.process.pid) - used < 0.2
    assert place.traces() == before
    assert daemon.stop() == 0
    assert place.await_status("STOPPING=1")
    assert place.traces() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_the_wait(place: Place, number: signal.Signals) -> None:
    place.change('"eth0"', '"eth9"')
    daemon = place.start()
    place.await_status("STATUS=waiting")
    for one in (signal.SIGUSR1, signal.SIGALRM):
        daemon.tell(one)
    daemon.tell(number)
    assert daemon.ended() == 0
    assert runfiles.running() == ()
    assert "Traceback" not in daemon.said


def test_an_interface_that_comes_late(place: Place) -> None:
    place.change('"eth0"', '"late0"')
    place.start()
    place.await_status("STATUS=waiting")
    ip("link add late0 type veth peer name later")
    assert "STATUS=node web1 of web" in place.await_status("READY=1")
    assert place.show()["held"] == []
    ip("link set late0 up")
    ip("link set later up")
    until(lambda: place.show()["held"] == [1, 2, 3, 4])


@pytest.mark.parametrize("way", ["signal", "command"])
def test_a_file_that_is_mended_meanwhile(place: Place, way: str) -> None:
    place.change('"eth0"', '"eth9"')
    daemon = place.start()
    place.await_status("STATUS=waiting")
    place.change("[cluster]", "[cluster")
    daemon.tell(signal.SIGHUP)
    daemon.await_line("not reloaded: ")
    with pytest.raises(UsageError, match="not TOML"):
        place.ask("reload")
    place.file.write_text(place.text)
    if way == "signal":
        daemon.tell(signal.SIGHUP)
    else:
        begins = "begins by the file as it is now: it waited for eth9"
        assert place.ask("reload") == {"changes": [begins], "warnings": []}
    place.await_status("READY=1\nSTATUS=node")
    assert place.show()["node"] == "web1"
    assert daemon.stop() == 0


def test_the_interface_goes_and_comes_back(place: Place) -> None:
    daemon = place.serving()
    incarnation = place.show()["boot"]
    ip("link delete eth0")
    assert "waiting: eth0 is gone" in place.await_status("STATUS=waiting")
    assert not place.pins.exists()
    for words in ("link add eth0 type veth peer name wire", "link set eth0 up", "link set wire up"):
        ip(words)
    place.await_status("READY=1\nSTATUS=node")
    until(lambda: place.show()["held"] == [1, 2, 3, 4])
    assert place.show()["boot"] != incarnation
    assert "10.9.0.100/32" in ip("-4 address show dev eth0")
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.said


@pytest.mark.parametrize("name", ["keys", "clusterip.toml"])
def test_a_file_that_never_comes_holds_up_nothing(place: Place, name: str) -> None:
    daemon = place.ready()
    file = place.folder / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UsageError, match=f"{file}: cannot be read: Not a regular file"):
        place.ask("reload")
    daemon.tell(signal.SIGHUP)
    daemon.await_line(f"not reloaded: {file}: cannot be read")
    assert place.show()["node"] == "web1"
    assert daemon.stop() == 0


def test_a_key_file_that_others_may_read(place: Place) -> None:
    keys = place.folder / "keys"
    keys.chmod(0o644)
    os.chown(keys, 65534, 0)
    daemon = place.ready()
    assert f"key file {keys} belongs to user 65534" in daemon.said
    assert f"key file {keys} has mode 0644: others than its owner may use it" in daemon.said
    assert f"better: chmod 600 {keys}" in daemon.said
    assert daemon.stop() == 0
    keys.chmod(0o600)
    os.chown(keys, 0, 0)
    daemon = place.start()
    place.await_status("READY=1")
    assert "key file" not in daemon.said


def test_what_was_lost_of_the_journal_is_said() -> None:
    assert serving._lost(None, handed=False) == ""
    assert serving._lost(None, handed=True).startswith("the journal begins anew")
    assert serving._lost(Kept(name="a", lost=0), handed=True) == ""
    whole = "1 event of the journal was lost: /run had no space for all of it"
    assert serving._lost(Kept(name="a", lost=1), handed=True) == whole
