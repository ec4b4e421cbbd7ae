"""`clusterip reload` and `clusterip restart`: what they print, and when they are content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.cli.main import main
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.core.findings import Code, Finding
from clusterip.runtime import asking
from tests.cli.answering import Answering, answering

GOES_BY = "the daemon of cluster web goes by its file now:"

pytestmark = pytest.mark.root("said before all else")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    monkeypatch.setattr(asking, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(asking, "_RESTART_SECONDS", 0.5)
    with answering() as one:
        yield one


def later(daemon: Answering, change: Callable[[], None], looks: int = 3) -> None:
    """Change something once the daemon was asked to restart and was looked at some times."""
    seen = 0

    def show() -> None:
        nonlocal seen
        seen += bool(daemon.asked)
        if seen == looks:
            change()

    daemon.does["show"] = show


def test_reload(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["stop: release -> drain", "check c: added"]
    daemon.changes = changes
    assert main(["reload"]) == 0
    said = f"{GOES_BY} 2 changes\n  stop: release -> drain\n  check c: added\n"
    assert capsys.readouterr() == (said, "")
    daemon.changes = []
    assert main(["reload", "--cluster", "web"]) == 0
    assert capsys.readouterr() == (f"{GOES_BY} nothing changed\n", "")


def test_what_is_unwise_since_a_reload(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.changes = ["quorum: majority -> alive"]
    daemon.warnings = [Finding.of(Code.BOTH_ALONE, "both answer", cure="add a witness")]
    assert main(["reload"]) == 0
    said = "clusterip: warning: both answer\n  cure: add a witness\n"
    assert capsys.readouterr() == (f"{GOES_BY} 1 change\n  quorum: majority -> alive\n", said)
    assert main(["reload", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["changes"], told["warnings"][0]["code"], err) == (daemon.changes, "both-alone", "")


@pytest.mark.parametrize(
    ("error", "status"), [(RefusedError("port: no", "back"), 1), (SystemFaultError("no", "x"), 4)]
)
def test_reload_refused(
    daemon: Answering,
    error: RefusedError | SystemFaultError,
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    daemon.refuses("reload", error)
    assert main(["reload"]) == status
    assert capsys.readouterr() == ("", f"clusterip: {error.message}\n  cure: {error.cure}\n")


def test_restart(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    later(daemon, lambda: daemon.document.update(started=2000, pid=17))
    assert main(["restart"]) == 0
    assert daemon.asked == [{"verb": "restart"}]
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("web1 of cluster web runs anew, with all that its daemon had (")


def test_restart_in_json(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    later(daemon, lambda: daemon.document.update(started=2000, pid=18))
    assert main(["restart", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["node"], told["pid"]) == ("web1", 18)
    daemon.refuses("restart", RefusedError("line 1: not TOML", "mend it"))
    assert main(["restart", "--json"]) == 1
    out, err = capsys.readouterr()
    fault = {"message": "line 1: not TOML", "cure": "mend it", "status": 1}
    assert (out, json.loads(err)) == ("", {"error": fault})


def test_silence_between_the_two_is_no_fault(daemon: Answering) -> None:
    def silent() -> None:
        raise SystemFaultError("no daemon", "start it")

    looks = 0

    def show() -> None:
        nonlocal looks
        looks += bool(daemon.asked)
        if 1 < looks < 5:
            silent()
        if looks == 6:
            daemon.document["started"] = 2000

    daemon.does["show"] = show
    assert main(["restart"]) == 0


def test_no_majority_agrees(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.document["refused_restarts"] = 4
    later(daemon, lambda: daemon.document.update(refused_restarts=5))
    assert main(["restart"]) == 1
    assert "no majority agreed to a restart in time" in capsys.readouterr().err


def test_a_successor_without_memory(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    later(daemon, lambda: daemon.document.update(started=2000, boot="0" * 16))
    assert main(["restart"]) == 4
    assert "could not take over from the one before" in capsys.readouterr().err


def test_no_successor(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restart"]) == 4
    assert "the new daemon does not answer" in capsys.readouterr().err


def test_the_file_is_at_fault(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.refuses("restart", RefusedError("line 1: not TOML", "mend it"))
    assert main(["restart"]) == 1
    assert "line 1: not TOML" in capsys.readouterr().err


def test_a_daemon_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    # It has its lock, and not yet its socket.
    with RunFiles("web").claimed():
        for verb in ("reload", "restart"):
            assert main([verb]) == 4
            assert (
                "cluster web is starting or ending, or lost its socket: no command can reach it"
                in capsys.readouterr().err
            )


@pytest.mark.parametrize("words", [["reload", "x"], ["restart", "x"], ["reload", "--bogus"]])
def test_bad_command_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: clusterip")


def test_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, part in (
        ("reload", "What every host must have at once is refused"),
        ("restart", "the kernel goes on serving meanwhile"),
    ):
        with pytest.raises(SystemExit):
            main([verb, "--help"])
        assert part in " ".join(capsys.readouterr().out.split())


def test_it_is_told_to_stop_meanwhile(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    later(daemon, lambda: daemon.document.update(stopping_seconds=4.0))
    assert main(["restart"]) == 1
    assert "the node was told to stop meanwhile" in capsys.readouterr().err
