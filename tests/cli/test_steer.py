"""`clusterip drain`, `undrain`, `weight`: asked until the node says so; and waiting for a drain."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.cli.main import main
from clusterip.core.errors import RefusedError, SystemFaultError
from clusterip.runtime import asking
from tests.cli.answering import Answering, answering

pytestmark = pytest.mark.root("said before all else")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    monkeypatch.setattr(asking, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(asking, "_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(asking, "_OBEYED_SECONDS", 0.2)
    with answering() as one:
        yield one


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "\n  cure: " in said.err
    return said.err


def test_this_node(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.will("drain", leaving=True)
    daemon.will("undrain", leaving=False)
    daemon.will("weight", weight=7)
    said = (
        "web1 drains: 2 buckets to give away yet, 0 with open connections; 300 s at most\n",
        "web1 takes part again\n",
        "web1 has weight 7 until its daemon is stopped; to keep it, write it into the file\n",
    )
    for words, sentence in zip((["drain"], ["undrain"], ["weight", "7"]), said, strict=True):
        assert main(words) == 0
        assert capsys.readouterr() == (sentence, "")
    assert daemon.asked == [
        {"verb": "drain"},
        {"verb": "undrain"},
        {"verb": "weight", "value": 7},
    ]


def test_in_json(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.will("weight", "web2", weight=7)
    assert main(["weight", "7", "web2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("done").startswith("web2 has weight 7 ")
    node = daemon.node("web2")
    assert told == {
        "cluster": "web",
        "node": "web2",
        **{key: node[key] for key in ("leaving", "weight", "held", "draining")},
    }
    drains(daemon, ([1], [2]), ([], []))
    assert main(["drain", "--wait", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("waited_seconds") >= 0
    assert told == {
        "done": "web1 is drained",
        "cluster": "web",
        "node": "web1",
        "stopped": False,
        "cut_connections": 0,
    }


@pytest.mark.parametrize("name", ["web2", "WEB2"])
def test_another_node(daemon: Answering, name: str) -> None:
    daemon.will("drain", "web2", leaving=True)
    daemon.will("weight", "web2", weight=0)
    assert main(["drain", name]) == 0
    assert main(["weight", "0", name]) == 0
    assert [one["node"] for one in daemon.asked] == [name, name]


def test_it_is_asked_again_when_nothing_happens(daemon: Answering) -> None:
    def second_time() -> None:
        if len(daemon.asked) == 2:
            daemon.node("web2")["leaving"] = True

    daemon.does["drain"] = second_time
    assert main(["drain", "web2"]) == 0
    assert len(daemon.asked) == 2


@pytest.mark.parametrize("verb", ["drain", "undrain"])
def test_it_never_says_so(daemon: Answering, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.node("web2")["leaving"] = verb == "undrain"
    said = refused(capsys, verb, "web2")
    assert "web2 was asked, and does not say that it does so" in said
    assert f"or on its host: clusterip {verb};" in said
    assert len(daemon.asked) > 1


@pytest.mark.parametrize(
    ("how", "words", "said", "cure"),
    [
        (
            {"stopping": True, "leaving": True},
            ["undrain"],
            "web2 is to stop, and drains first",
            "start its daemon again: then it takes part",
        ),
        (
            {"stopping": True, "leaving": True},
            ["weight", "7"],
            "web2 is to stop, and drains first",
            "start its daemon again; then: clusterip weight 7",
        ),
        (
            {"stopping": True, "alive": False},
            ["drain"],
            "web2 was stopped: no daemon runs there",
            "takes part again when it is started there",
        ),
        (
            {"restarting": True},
            ["drain"],
            "web2 is in a planned restart",
            "ask again when it is back: clusterip drain web2",
        ),
        (
            {"alive": False, "heard_seconds": 3.21},
            ["weight", "7"],
            "web2 is silent for 3.2 s, so it cannot be asked from here",
            "or ask there: clusterip weight 7",
        ),
        (
            {"alive": False, "heard_seconds": 0.1},
            ["drain"],
            "web2 does not hear this host",
            "`clusterip show` says why",
        ),
        (
            {"alive": False, "heard_seconds": None},
            ["drain"],
            "web2 was never heard",
            "`clusterip show` says why",
        ),
        (
            {"alive": False, "agrees": False, "heard_seconds": 0.1},
            ["drain"],
            "web2 has another configuration",
            "compare the files",
        ),
    ],
)
def test_what_it_does_instead(
    daemon: Answering,
    how: dict[str, object],
    words: list[str],
    said: str,
    cure: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that stops, restarts or is not there is named as such, and is not asked."""
    daemon.node("web2").update(how)
    told = refused(capsys, *words, "web2")
    assert said in told
    assert cure in told.partition("cure: ")[2]
    assert daemon.asked == []


def test_one_that_restarts_is_waited_for(daemon: Answering) -> None:
    shown = 0

    def show() -> None:
        nonlocal shown
        shown += 1
        daemon.node("web2")["restarting"] = shown < 3

    daemon.does["show"] = show
    daemon.will("drain", "web2", leaving=True)
    assert main(["drain", "web2"]) == 0
    assert [one["verb"] for one in daemon.asked] == ["drain"]


def test_one_that_stops_drains_all_the_same(daemon: Answering) -> None:
    daemon.node("web2").update(stopping=True, leaving=True)
    assert main(["drain", "web2"]) == 0


def test_the_cure_has_the_weight_that_was_asked_for(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    assert daemon.node("web2")["weight"] != 7
    assert "or on its host: clusterip weight 7;" in refused(capsys, "weight", "7", "web2")


def test_what_it_does_at_last_is_waited_for(daemon: Answering) -> None:
    last = 0.0

    def drain() -> None:
        nonlocal last
        last = time.monotonic()

    def show() -> None:
        # No other question follows by then.
        if daemon.asked and time.monotonic() > last + 1.5 * asking._AGAIN_SECONDS:
            daemon.node("web2")["leaving"] = True

    daemon.does.update(drain=drain, show=show)
    assert main(["drain", "web2"]) == 0


def test_it_is_refused(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.refuses("drain", RefusedError("web3 is a witness: it holds nothing", "another"))
    assert "web3 is a witness" in refused(capsys, "drain", "web3")
    assert len(daemon.asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["weight"],
        ["weight", "256"],
        ["weight", "-1"],
        ["weight", "x"],
        ["weight", ""],
        ["weight", "1.5"],
        ["weight", "٣"],
        ["weight", "9" * 5000],
        ["drain", "a", "b"],
        ["drain", "--bogus"],
        ["undrain", "--wait"],
        ["weight", "1", "a", "b"],
    ],
)
def test_bad_command_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: clusterip")
    assert "Traceback" not in said.err


def test_the_help_says_how_long_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drain", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "A `clusterip restart` keeps it" in said
    assert "drain_timeout" in said


# ---- waiting ----


def drains(daemon: Answering, *steps: tuple[list[int], list[int]], name: str = "web1") -> None:
    """Have a drain go on by one step whenever it is looked at."""
    left = list(steps)

    def show() -> None:
        if daemon.asked and left:
            held, draining = left.pop(0)
            daemon.node(name).update(leaving=True, held=held, draining=draining)

    daemon.does["show"] = show


@pytest.mark.parametrize("name", ["web1", "web2"])
def test_wait(daemon: Answering, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    drains(daemon, ([1, 2], []), ([1], [2]), ([], [1, 2]), ([], [2]), ([], []), name=name)
    assert main(["drain", "--wait", name]) == 0
    assert capsys.readouterr() == (f"{name} is drained\n", "")
    node = daemon.node(name)
    assert (node["held"], node["draining"]) == ([], [])


def test_it_waits_for_the_last_connections(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    drains(daemon, *[([], [2])] * 30, ([], []))

    # Nobody has to take what is only waited for.
    def alone() -> None:
        daemon.node().update(leaving=True, held=[])
        for name in ("web2", "web3"):
            daemon.node(name)["alive"] = False

    daemon.does["drain"] = alone
    assert main(["drain", "--wait"]) == 0
    assert capsys.readouterr().out == "web1 is drained\n"


def test_the_drain_is_called_off(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    drains(daemon, ([1, 2], []), ([1], [2]))
    show = daemon.does["show"]

    def called_off() -> None:
        show()
        if daemon.node()["draining"]:
            daemon.node()["leaving"] = False

    daemon.does["show"] = called_off
    assert "the drain was called off" in refused(capsys, "drain", "--wait")


def test_the_node_stops_meanwhile(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    drains(daemon, ([1, 2], []), ([1], [2]), name="web2")
    show = daemon.does["show"]

    def stops() -> None:
        show()
        if daemon.node("web2")["draining"]:
            daemon.node("web2").update(alive=False, held=[], draining=[], stopping=True)

    daemon.does["show"] = stops
    assert main(["drain", "--wait", "web2"]) == 0
    assert capsys.readouterr().out == "web2 stopped\n"


@pytest.mark.parametrize("back", [False, True])
def test_the_node_is_not_heard_meanwhile(
    daemon: Answering,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    back: bool,
) -> None:
    """It may be this host's cable that was pulled, and connections be open there."""
    monkeypatch.setattr(asking, "_SILENT_SECONDS", 5.0 if back else 0.3)
    drains(daemon, ([1, 2], []), ([1], [2]), name="web2")
    show = daemon.does["show"]
    looks: list[object] = []

    def cut_off() -> None:
        show()
        node = daemon.node("web2")
        if node["draining"] or looks:
            looks.append(node)
            there = back and len(looks) > 3
            node.update(alive=there, held=[], draining=[])

    daemon.does["show"] = cut_off
    if back:
        assert main(["drain", "--wait", "web2"]) == 0
        assert "web2 is drained" in capsys.readouterr().out
        return
    assert main(["drain", "--wait", "web2"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "web2 is not heard any more, and was not drained when it was" in said
    assert "ask again when it is back: clusterip drain --wait web2" in said


UNABLE: list[dict[str, object]] = [
    {"alive": False},
    {"agrees": False},
    {"ready": False},
    {"healthy": False},
    {"weight": 0},
    {"leaving": True},
]


def disable(daemon: Answering, me: str, unable: dict[str, object]) -> None:
    for node in daemon.document["nodes"]:
        if node["name"] != me:
            node.update(unable)


@pytest.mark.parametrize("name", ["web1", "web2"])
@pytest.mark.parametrize("unable", UNABLE)
def test_nobody_can_take_them(
    daemon: Answering, name: str, unable: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    disable(daemon, name, unable)
    said = refused(capsys, "drain", "--wait", name)
    assert f"no other node takes the buckets of {name}" in said
    assert daemon.asked == []


@pytest.mark.parametrize("name", ["web1", "web2"])
@pytest.mark.parametrize("unable", [one for one in UNABLE if {"alive", "agrees"} & one.keys()])
def test_nobody_is_there_to_take_them_and_nobody_waits(
    daemon: Answering, name: str, unable: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    disable(daemon, name, unable)
    assert f"no other node takes the buckets of {name}" in refused(capsys, "drain", name)
    assert daemon.asked == []


def test_who_lost_all_for_want_of_a_majority_is_not_drained(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    disable(daemon, "web1", {"alive": False})
    daemon.node("web1").update(held=[], draining=[])
    said = refused(capsys, "drain", "--wait", "web1")
    assert "no other node takes the buckets of web1" in said
    assert daemon.asked == []


@pytest.mark.parametrize("name", ["web1", "web2"])
@pytest.mark.parametrize("unable", [one for one in UNABLE if not {"ready", "healthy"} & one.keys()])
def test_nobody_can_take_them_any_more(
    daemon: Answering, name: str, unable: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    def begun() -> None:
        daemon.node(name)["leaving"] = True
        disable(daemon, name, unable)

    daemon.does["drain"] = begun
    daemon.will("undrain", name, leaving=False)
    said = refused(capsys, "drain", "--wait", name)
    assert f"no other node takes the buckets of {name}" in said
    assert [one["verb"] for one in daemon.asked] == ["drain", "undrain"]
    assert not daemon.node(name)["leaving"]


def test_who_falls_ill_meanwhile_takes_them(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.does["drain"] = lambda: disable(daemon, "web1", {"healthy": False, "ready": False})
    drains(daemon, ([1], [2]), ([], [2]), ([], []))
    assert main(["drain", "--wait"]) == 0
    assert capsys.readouterr().out == "web1 is drained\n"


def test_a_drain_of_somebody_else_is_not_taken_back(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.node()["leaving"] = True
    daemon.does["drain"] = lambda: disable(daemon, "web1", {"alive": False})
    assert "no other node takes" in refused(capsys, "drain", "--wait")
    assert [one["verb"] for one in daemon.asked] == ["drain"]


def test_it_cannot_be_taken_back(daemon: Answering, capsys: pytest.CaptureFixture[str]) -> None:
    def begun() -> None:
        daemon.node()["leaving"] = True
        disable(daemon, "web1", {"alive": False})

    daemon.does["drain"] = begun
    assert main(["drain", "--wait"]) == 4
    said = capsys.readouterr().err
    assert "this node is still to be drained" in said
    assert "cure: clusterip undrain" in said


@pytest.mark.parametrize(
    ("words", "undrain"), [([], "clusterip undrain"), (["web2"], "clusterip undrain web2")]
)
def test_ctrl_c_says_that_the_drain_goes_on(
    daemon: Answering, words: list[str], undrain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    drains(daemon, *[([1], [2])] * 3000, name=words[0] if words else "web1")
    show = daemon.does["show"]
    looks: list[object] = []

    def interrupt() -> None:
        show()
        looks.append(1)
        if len(looks) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    daemon.does["show"] = interrupt
    # Who started the tests, in the background of a script say, may have it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["drain", "--wait", *words]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr()
    assert said.err == f"clusterip: the drain goes on; `{undrain}` takes it back\n"
    assert [one["verb"] for one in daemon.asked] == ["drain"]


@pytest.mark.parametrize("words", [["drain"], ["drain", "--wait"], ["weight", "7"]])
def test_one_that_was_asked_and_then_answers_nothing(
    daemon: Answering, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def silent() -> None:
        if daemon.asked:
            raise SystemFaultError("the daemon does not answer", "what was asked is not done")

    daemon.does["show"] = silent
    assert main(words) == 4
    said = capsys.readouterr().err
    assert f"this node was asked: {words[0]}; then the daemon does not answer" in said
    assert "not done" not in said


# ---- what is cut off ----


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (0, ""),
        (1, "; 1 connection was cut off after 300 s"),
        (10, "; 10 connections were cut off after 300 s"),
    ],
)
def test_connections_are_cut_off(
    daemon: Answering, cut: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.document["cut_connections"] = 7  # by a drain before
    drains(daemon, ([1], [2]), ([], [2]), ([], []))
    begun = daemon.does["show"]

    def show() -> None:
        begun()
        if daemon.asked:
            daemon.document["cut_connections"] = 7 + cut

    daemon.does["show"] = show
    assert main(["drain", "--wait"]) == 0
    assert capsys.readouterr().out == f"web1 is drained{words}\n"


@pytest.mark.parametrize(
    ("earlier", "during", "words"),
    [
        (0, 0, ""),
        (0, 8, "; 8 connections were cut off after 300 s"),
        (1, 0, "; 1 connection was cut off before this wait"),
        (
            3,
            2,
            "; 2 connections were cut off after 300 s; 3 connections were cut off before this wait",
        ),
    ],
)
def test_what_a_drain_cut_off_that_began_before(
    daemon: Answering, earlier: int, during: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.document["cut_connections"] = earlier
    daemon.node()["leaving"] = True
    drains(daemon, ([], [1, 2]), ([], [2]), ([], []))
    begun = daemon.does["show"]

    def show() -> None:
        begun()
        if daemon.asked:
            daemon.document["cut_connections"] = earlier + during

    daemon.does["show"] = show
    assert main(["drain", "--wait"]) == 0
    assert capsys.readouterr().out == f"web1 is drained{words}\n"


def test_a_daemon_that_is_restarted_counts_anew(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.document["cut_connections"] = 7
    drains(daemon, ([1], [2]), ([], [2]), ([], []))
    begun = daemon.does["show"]

    def show() -> None:
        begun()
        if daemon.asked:
            daemon.document.update(cut_connections=2, started=2000)

    daemon.does["show"] = show
    assert main(["drain", "--wait"]) == 0
    said = capsys.readouterr().out
    assert said == "web1 is drained; 2 connections were cut off after 300 s\n"


@pytest.mark.parametrize("left", [([], [2]), ([], [])])
def test_a_drain_of_another_node_that_began_before(
    daemon: Answering, left: tuple[list[int], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.node("web2")["leaving"] = True
    drains(daemon, left, ([], []), name="web2")
    assert main(["drain", "--wait", "web2"]) == 0
    assert capsys.readouterr().out == (
        "web2 is drained, and was to be before; `clusterip show` there counts what was cut off"
        " after 300 s\n"
    )


def test_connections_of_another_node_had_their_time(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.document["drain_timeout_seconds"] = 0.01
    drains(daemon, *[([], [2])] * 5, ([], []), name="web2")
    assert main(["drain", "--wait", "web2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("web2 is drained; what was open after 0.01 s was cut off")


def test_an_answer_that_cannot_be_written_is_an_error(
    daemon: Answering, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.will("drain", leaving=True)
    for words in (["drain"], ["drain", "--json"], ["reload", "--json"]):
        with monkeypatch.context() as patch, Path("/dev/full").open("w") as full:
            patch.setattr(sys, "stdout", full)
            assert main(words) == 4
        assert "No space left on device" in capsys.readouterr().err
