"""`clusterip events`, and `clusterip show` for those who are not root, beside a status socket."""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clusterip.adapters import runfiles, statuspath, statuspeer
from clusterip.adapters.clock import boottime
from clusterip.adapters.statusclient import StatusClient
from clusterip.adapters.statussocket import StatusSocket
from clusterip.cli.main import main
from clusterip.core import journal
from clusterip.core.errors import SystemFaultError
from clusterip.core.events import Event, HealthChanged, Level, Noted
from clusterip.core.journal import Journal, Stamp
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Hello
from tests.cli.answering import answering, document, status
from tests.served import until

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  (.*)")


class Telling:
    """A daemon that only tells its status and what happens."""

    def __init__(self, name: str = "a") -> None:
        self.socket = StatusSocket("web", None)
        self.journal = Journal(name)
        hello = Hello(cluster="web", node="web1", pid=os.getpid(), journal=name)
        self.say(b"h" + feed.encode(hello))

    def say(self, line: bytes) -> None:
        if not self.socket.say(line):
            until(self.socket.flush)

    def tell(self, event: Event) -> None:
        (entry,) = self.journal.record(event, at=Stamp(time.time(), boottime()))
        self.say(b"e%d %b\n" % (entry.seq, journal.encode(entry)))


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    # A path of a socket is short.
    with tempfile.TemporaryDirectory(prefix="ci", dir="/tmp") as folder:
        monkeypatch.setattr(statuspath, "ROOT", Path(folder) / "s")
        one = Telling()
        for number in range(1, 4):
            one.tell(Noted(what=f"line {number}"))
        one.tell(HealthChanged(healthy=False, cause="web: down"))
        yield one
        one.socket.end()


def lines(text: str) -> list[str]:
    return [match[1] for match in map(LINE.fullmatch, text.splitlines()) if match]


def test_as_lines(telling: Telling, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events"]) == 0
    assert lines(capsys.readouterr().out) == ["line 1", "line 2", "line 3", "UNHEALTHY (web: down)"]
    assert main(["events", "web", "--last", "1"]) == 0
    assert lines(capsys.readouterr().out) == ["UNHEALTHY (web: down)"]
    assert main(["events", "--since", "2"]) == 0
    assert lines(capsys.readouterr().out) == ["line 3", "UNHEALTHY (web: down)"]
    for words in (["--last", "0"], ["--since", "4"]):
        assert main(["events", *words]) == 0
        assert capsys.readouterr().out == ""
    for words in (["--since", "99"], ["--since", "99", "--follow"]):
        assert main(["events", *words]) == 2
        assert "the journal has no event 99: its newest is 4" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        main(["events", "--since", "9" * 5000])
    assert error.value.code == 2


def test_as_json(telling: Telling, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["events", "--json", "--last", "2"]) == 0
    said = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [(one["seq"], one["level"]) for one in said] == [(3, "info"), (4, "warning")]
    assert said[1]["event"] == {"kind": "health-changed", "healthy": False, "cause": "web: down"}
    assert said == [msgspec.to_builtins(one) for one in list(telling.journal.entries)[2:]]


def test_followed_to_the_end(telling: Telling, capsys: pytest.CaptureFixture[str]) -> None:
    def later() -> None:
        time.sleep(1)
        telling.tell(Noted(what="line 5", matters=Level.ERROR))
        telling.say(b"bstop\n")

    thread = threading.Thread(target=later)
    thread.start()
    assert main(["events", "--follow", "--last", "1"]) == 0
    thread.join()
    said = capsys.readouterr()
    assert lines(said.out) == ["UNHEALTHY (web: down)", "line 5"]
    assert said.err == "clusterip: the daemon of cluster web ended, as it was told to\n"


def test_followed_as_json_there_are_objects_alone(
    telling: Telling, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Timer(0.5, telling.say, (b"bstop\n",))
    thread.start()
    assert main(["events", "--follow", "--json", "--last", "1"]) == 0
    thread.join()
    said = capsys.readouterr()
    assert [json.loads(one)["seq"] for one in said.out.splitlines()] == [4]
    assert said.err == ""


def test_who_asks_and_says_nothing_more_is_answered(telling: Telling) -> None:
    """As `nc -N` does, which ends its half first."""
    raw = b"s%d %b\n" % (boottime(), msgspec.json.encode(status(document())))
    asks = b'{"ask":"events"}\n{"ask":"status"}\n{"ask":"events","last":1}\n'
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(statuspath.path_of("web")))
        one.settimeout(5)
        one.sendall(asks)
        one.shutdown(socket.SHUT_WR)
        until(telling.socket.wanted)
        telling.say(raw)
        said = b"".join(iter(lambda: one.recv(1 << 16), b""))
    kinds = [json.loads(line)["line"] for line in said.splitlines()]
    assert kinds == ["hello", *4 * ["event"], "now", "status", "event", "now"]


def test_one_that_only_listens_still_is_told_and_let_go(telling: Telling) -> None:
    path = str(statuspath.path_of("web"))
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(path)
        one.settimeout(5)
        one.sendall(b'{"ask":"events","last":0,"follow":true}\n')
        one.shutdown(socket.SHUT_WR)
        reader = one.makefile("rb")
        assert [json.loads(reader.readline())["line"] for _ in range(2)] == ["hello", "now"]
        telling.tell(Noted(what="later"))
        assert json.loads(reader.readline())["line"] == "event"
        server = telling.socket._server.pid
        before = len(list(Path(f"/proc/{server}/fd").iterdir()))
        used = Path(f"/proc/{server}/stat").read_text().split()[13]
        time.sleep(0.3)
        assert int(Path(f"/proc/{server}/stat").read_text().split()[13]) <= int(used) + 5
        reader.close()
    until(lambda: len(list(Path(f"/proc/{server}/fd").iterdir())) < before)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (b"bfault\n", "the daemon of cluster web ended: something failed"),
        # It runs, and has no other program.
        (b"", "no daemon of cluster web tells its status in this network namespace"),
    ],
)
def test_one_that_ends_badly(
    last: bytes,
    words: str,
    telling: Telling,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statuspeer, "NEXT_SECONDS", 0.5)
    thread = threading.Timer(1, telling.socket.end, (last,))
    thread.start()
    assert main(["events", "-f", "--last", "0"]) == 4
    thread.join()
    assert capsys.readouterr().err.startswith(f"clusterip: {words}\n  cure: s")


def test_a_successor_with_another_journal(
    telling: Telling, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not handed over begins anew, and all of it is new."""

    def later() -> None:
        time.sleep(1)
        telling.socket.end(b"brestart\n")
        one = Telling("b")
        one.tell(Noted(what="begun"))
        time.sleep(1)
        one.socket.end(b"bstop\n")

    thread = threading.Thread(target=later)
    thread.start()
    assert main(["events", "--follow"]) == 0
    thread.join()
    assert lines(capsys.readouterr().out)[3:] == ["UNHEALTHY (web: down)", "begun"]


def test_nobody_tells(telling: Telling, capsys: pytest.CaptureFixture[str]) -> None:
    telling.socket.end()
    assert main(["events"]) == 4
    assert "no daemon runs in this network namespace" in capsys.readouterr().err
    assert main(["events", "web"]) == 4
    assert "no daemon of cluster web runs in this network namespace" in capsys.readouterr().err
    assert main(["events", "../web"]) == 2


def test_another_cluster_than_the_one_here(
    telling: Telling, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["events", "mail"]) == 4
    said = capsys.readouterr().err
    assert "no daemon of cluster mail runs in this network namespace" in said
    assert "cure: here is web" in said
    assert telling.journal


def test_a_daemon_of_the_first_release(
    telling: Telling,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It runs, and has no status socket."""
    telling.socket.end()
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    with answering() as daemon:
        for program in ("0.1.0", "0.2.0"):
            daemon.document["program"] = program
            for words in ((), ("web",)):
                assert main(["events", *words]) == 4
                said = capsys.readouterr().err
                assert "the daemon of cluster web tells no events" in said
                cured = "`clusterip restart` replaces it by the one that is installed" in said
                assert cured == (program == "0.1.0")


def test_several_tell(telling: Telling, capsys: pytest.CaptureFixture[str]) -> None:
    other = StatusSocket("web2", None)
    try:
        assert main(["events"]) == 1
        assert "daemons of several clusters run here: web, web2" in capsys.readouterr().err
    finally:
        other.end()


def test_show_without_root(
    telling: Telling, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    made, done = msgspec.json.encode(status(document())), threading.Event()

    def later() -> None:
        while not done.wait(0.05):
            if telling.socket.wanted():
                telling.say(b"s%d %b\n" % (boottime(), made))

    thread = threading.Thread(target=later, daemon=True)
    thread.start()
    main(["show"])
    said = capsys.readouterr().out
    assert "cluster web: node web1" in said
    assert said.endswith(
        "only root sees more: interfaces, VIPs, rules, packets, open connections\n"
    )
    main(["show", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [one["cluster"] for one in found["clusters"]] == ["web"]
    assert found["interfaces"] == []
    done.set()
    thread.join()


def test_a_daemon_that_makes_no_snapshot(telling: Telling) -> None:
    with (
        StatusClient("web") as client,
        pytest.raises(SystemFaultError, match="the daemon does not answer in time"),
    ):
        client.status()
    # One that there was is better than none.
    telling.say(b"s%d %b\n" % (boottime() - 10**10, msgspec.json.encode(status(document()))))
    with StatusClient("web") as client:
        assert client.status().cluster == "web"
