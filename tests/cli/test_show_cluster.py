"""What `clusterip show` says of daemons: the table, every line of trouble, the JSON."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from clusterip import __version__
from clusterip.adapters import runfiles
from clusterip.adapters.memory import RunFiles
from clusterip.cli import show_cluster
from clusterip.core.findings import Code, Finding, plain
from clusterip.core.status import Cluster, Silent, Status
from clusterip.runtime import unseen
from tests.cli.answering import answering, document, status
from tests.cli.conftest import Commands

NOTHING: dict[str, Any] = {"format": 1, "clusters": [], "interfaces": []}
needs_root = pytest.mark.root("network namespaces")


@pytest.fixture(autouse=True)
def unmissed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons that only answer share no interface, and are not missed on one."""
    monkeypatch.setattr(unseen, "fault", lambda _told: None)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /run of the test's own."""
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)


def fixed(**changes: Any) -> Status:
    """Return what a daemon says as `seen` gives it, with those changes."""
    told = {**document(), "digest": "00000000000000aa", "connections": {"1": 3, "4": 2}, **changes}
    return show_cluster._found(status(told))


def sentences(told: Cluster) -> list[str]:
    """Return what is wrong now."""
    return [one.sentence for one in show_cluster.faults(told)]


def with_node(name: str, **changes: Any) -> Status:
    nodes = document()["nodes"]
    for node in nodes:
        if node["name"] == name:
            node.update(changes)
    return fixed(nodes=nodes)


def printed(told: Cluster, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show_cluster.show(told)
    said = capsys.readouterr()
    assert said.err == ""
    return [line.rstrip() for line in said.out.splitlines()]


def state(told: Status, capsys: pytest.CaptureFixture[str], name: str = "web2") -> str:
    """Return what the table says of the state of a node."""
    lines = (one for one in printed(told, capsys) if "  100     " in one)
    (line,) = (one for one in lines if one[2:].startswith(f"{name} "))
    return line[2 + len(name) :].partition("  100 ")[0].strip()


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    told = fixed(lease_seconds=0.654)
    first, second, third = (node.held for node in told.nodes)
    lines = printed(told, capsys)
    assert lines[0] == "cluster web: node web1, profile default, quorum majority"
    assert lines[1].split() == [
        "node",
        "state",
        "weight",
        "buckets",
        "held",
        "drains",
        "votes",
        "for",
    ]
    assert [line[:6] for line in lines[2:5]] == ["* web1", "  web2", "  web3"]
    votes = ["web1:2", "web2:2", "web3:2"]
    for line, held in zip(lines[2:5], (first, second, third), strict=True):
        words = line.replace("*", " ").split()
        assert words[1:4] == ["alive", "100", "2"]
        assert words[4].replace("-", ",").split(",") == [str(bucket) for bucket in held]
        assert words[5] == "none"
        assert sorted(words[6:]) == votes
    assert lines[5].startswith("  held here: ")
    assert lines[5].endswith("; lease 0.65 s; 5 connections")
    assert lines[6] == f"  6 buckets; digest 00000000000000aa; program {__version__}"
    assert len(lines) == 7


DEAF = Finding.of(Code.DEAF, "web2 is heard, but sulks", "is it sad?", cure="cheer it up")
TROUBLES: list[tuple[dict[str, Any], Code, str, str]] = [
    (
        {"alarms": {"two_owners": 2, "mismatch": 0, "starved": 0}},
        Code.TWO_OWNERS,
        "TWO OWNERS were seen 2 times",
        "see the log",
    ),
    (
        {"alarms": {"stood_still": 1}},
        Code.STOOD_STILL,
        "this machine stood still 1 time: it was paused, saved or moved",
        "drain a host before you pause it",
    ),
    (
        {"in_control": False},
        Code.NOT_IN_CONTROL,
        "the interface is not in our control",
        "see the log",
    ),
    (
        {"without_source": True},
        Code.NO_SOURCE,
        "this host has no address but VIPs to send messages from: the others do not hear it",
        "give the interface an address of its own",
    ),
    (
        {"alone": True},
        Code.ALONE,
        "serving alone: the other voter is not heard",
        "bring it back",
    ),
    (
        {"voters_waiting_for": "the last change has not reached every node"},
        Code.VOTERS_NOT_IN_USE,
        "the voters of the file are not in use yet: the last change has not reached every node",
        "reload where a host was not heard with them, or mend what is named",
    ),
    (
        {"alarms": {"two_owners": 0, "mismatch": 0, "starved": 3}},
        Code.STARVED,
        "starved 3 times: the daemon did not get the processor in time",
        'free the processor, or use profile = "relaxed"',
    ),
    (
        {"deaf": {"web2": plain([DEAF])[0]}},
        Code.DEAF,
        "web2 is heard, but sulks: is it sad?",
        "cheer it up",
    ),
    (
        {"cut_connections": 1},
        Code.CONNECTIONS_CUT,
        "1 connection was cut off by drains that took too long",
        "raise drain_timeout, or shorten the timeouts of the server",
    ),
    (
        {"cut_connections": 7},
        Code.CONNECTIONS_CUT,
        "7 connections were cut off by drains that took too long",
        "raise drain_timeout, or shorten the timeouts of the server",
    ),
]


@pytest.mark.parametrize(
    ("changes", "code", "line", "cure"),
    TROUBLES,
    ids=[
        *("two owners", "stood still", "control", "source", "alone", "voters", "starved"),
        *("deaf", "one cut", "cut"),
    ],
)
def test_each_trouble_has_its_line(
    changes: dict[str, Any], code: Code, line: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = fixed(**changes)
    lines = printed(told, capsys)
    assert lines[1:3] == [f"  {line}", f"  cure: {cure}"]
    assert len(lines) == 9
    (one,) = (*told.warnings, *told.faults)
    assert one.code == code.value
    # What may be over is no fault: whoever watches wants to know when all is well again.
    over = " time" in line or "cut" in line
    assert sentences(told) == ([] if over else [line])
    assert one.is_fault is not over


def test_another_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    told = with_node("web3", agrees=False, alive=False, digest=None)
    assert len(sentences(told)) == 1
    assert printed(told, capsys)[1:3] == [
        "  web3 has another configuration: it does not serve with this node",
        "  cure: compare the files with `clusterip check`",
    ]
    assert state(told, capsys, "web3") == "other configuration"


def test_all_troubles_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = fixed(
        alarms={"two_owners": 1, "mismatch": 1, "starved": 1},
        in_control=False,
        without_source=True,
        alone=True,
        voters_waiting_for="x",
        cut_connections=1,
    )
    assert len(printed(told, capsys)) == 7 + 2 * 7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "alive"),
        ({"alive": False, "heard_seconds": None}, "never heard"),
        ({"alive": False, "heard_seconds": 12.34}, "silent for 12.3 s"),
        ({"healthy": False}, "unhealthy"),
        ({"leaving": True}, "leaving"),
        ({"leaving": True, "held": []}, "drained"),
        ({"leaving": True, "held": [], "draining": [2]}, "leaving"),
        ({"ready": False}, "new"),
        ({"healthy": False, "leaving": True, "ready": False}, "unhealthy, leaving, new"),
    ],
)
def test_the_states_of_a_node(
    changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert state(with_node("web2", **changes), capsys) == words


def test_a_weight_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(with_node("web2", alive=False, heard_seconds=None, weight=None), capsys)
    (line,) = (one for one in lines if one.split()[:1] == ["web2"])
    assert line.split()[1:4] == ["never", "heard", "-"]


def test_one_that_is_deaf(capsys: pytest.CaptureFixture[str]) -> None:
    told = with_node("web2", alive=False, heard_seconds=0.01)
    assert state(replace(told, deaf={"web2": DEAF}), capsys) == "deaf"


def test_what_the_daemon_finds_wrong_is_told() -> None:
    found = Finding.of(Code.SILENT, "web2 was never heard", "does it run?", cure="see its log")
    with answering() as web:
        web.document["faults"] = plain([found])
        web.document["alone"] = True
        (told,) = show_cluster.seen(tuple)
    assert sentences(told) == [
        "serving alone: the other voter is not heard",
        "web2 was never heard: does it run?",
    ]
    assert isinstance(told, Status)
    assert told.faults[1] == found


def test_what_a_daemon_of_a_newer_program_finds_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    (newer,) = plain([Finding.of(Code.SILENT, "web2 sulks", cure="cheer it up")])
    with answering() as web:
        web.document["faults"] = [{**newer, "code": "sulking", "since": 12.5}]
        (told,) = show_cluster.seen(tuple)
    assert printed(told, capsys)[1:3] == ["  web2 sulks", "  cure: cheer it up"]
    assert [one.code for one in show_cluster.faults(told)] == ["sulking"]


def test_drains_and_checks(capsys: pytest.CaptureFixture[str]) -> None:
    told = fixed(
        draining=[
            {"bucket": 5, "seconds": 12.3, "connections": 1},
            {"bucket": 6, "seconds": 3.0, "connections": 0},
            {"bucket": 9, "seconds": 0.1, "connections": 3},
        ],
        checks=[
            {"name": "nginx", "good": True, "in_a_row": 3, "detail": "200 OK"},
            {"name": "disk", "good": False, "in_a_row": 1, "detail": "[red]full[/]"},
            {"name": "new", "good": None, "in_a_row": 0, "detail": ""},
        ],
    )
    lines = printed(told, capsys)
    assert lines[1] == "  this host is unhealthy: disk"
    assert lines[2].startswith("  cure: mend what the check looks at")
    assert lines[8:] == [
        "  draining 5-6,9: 4 connections, begun 12 s ago",
        "  check nginx: good (200 OK)",
        "  check disk: bad ([red]full[/])",
        "  check new: not known yet",
        f"  6 buckets; digest 00000000000000aa; program {__version__}",
    ]


def test_one_that_starts(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(fixed(grants_in_seconds=4.321), capsys)
    assert lines[1] == "  starting: grants nothing for 4.3 s yet"


def test_who_keeps_messages_in_an_older_version(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(fixed(version=2, held_down_by=["web2", "web3"]), capsys)
    assert "  messages are said in version 2: no newer one for web2, web3" in lines
    assert not [one for one in printed(fixed(), capsys) if "version" in one]


def test_a_witness(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(fixed(witness=True, connections={}), capsys)
    assert lines[0].startswith("cluster web: node web1 (witness), ")
    assert not any("held here" in line for line in lines)
    assert "  only votes, and holds nothing" in lines


def test_a_witness_among_the_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert state(with_node("web2", witness=True), capsys) == "witness"
    assert state(with_node("web2", witness=True, ready=False), capsys) == "new"


def test_a_daemon_of_another_release(capsys: pytest.CaptureFixture[str]) -> None:
    told = document()
    del told["program"]
    lines = printed(status(told), capsys)
    assert lines[-1].endswith("; program 0.1.0")
    assert (
        f"  the daemon is release 0.1.0, and this command {__version__}: `clusterip restart`"
        " replaces the daemon, and loses no packet"
    ) in lines


def test_one_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    words = "the daemon of cluster web does not answer"
    told = Silent(cluster="web", fault=words, cure="see its log")
    assert printed(told, capsys) == [f"cluster web: {words}", "  cure: see its log"]
    assert printed(replace(told, cure=""), capsys) == [f"cluster web: {words}"]
    assert sentences(told) == [words]


def test_what_is_seen_of_the_daemons() -> None:
    assert show_cluster.seen(tuple) == []
    with answering() as web, answering("mail") as mail, RunFiles("gone").claimed():
        mail.document["cluster"] = "mail"
        gone, second, third = show_cluster.seen(tuple)
    assert isinstance(gone, Silent)
    assert gone.cluster == "gone"
    assert (
        gone.fault == "the daemon of cluster gone is starting or ending, or lost its socket:"
        " no command can reach it"
    )
    assert "a restart makes its socket anew" in gone.cure
    assert second == status({**mail.document, "faults": [], "connections": {}})
    assert third == status({**web.document, "faults": [], "connections": {}})


def test_a_daemon_that_is_being_replaced_has_some_time(tmp_path: Path) -> None:
    with answering():
        (folder,) = tmp_path.glob("*/web")
    begun, come = threading.Event(), threading.Event()

    def successor() -> None:
        begun.wait(10)
        with answering():
            come.wait(10)

    (folder / "handover").touch()
    thread = threading.Thread(target=successor)
    thread.start()
    try:
        (folder / "note.new").touch()  # as one that does not end, but is replaced, leaves it
        begun.set()
        (told,) = show_cluster.seen(tuple)
    finally:
        come.set()
        thread.join()
    assert isinstance(told, Status)


@needs_root
def test_the_json(cli: Commands) -> None:
    assert json.loads(cli.well("show", "--json")) == NOTHING
    with answering() as web:
        (told,) = json.loads(cli.well("show", "--json"))["clusters"]
        assert told == {
            **web.document,
            "fault": None,
            "faults": [],
            "warnings": [],
            "connections": {},
        }
        assert cli.well("show").startswith("cluster web: node web1, ")


@needs_root
def test_the_connections_of_an_interface_run_by_it(cli: Commands, run_by_daemon: object) -> None:
    with answering() as web:
        web.document["draining"] = [{"bucket": 3, "seconds": 1.0, "connections": None}]
        document = json.loads(cli.well("show", "--json"))
    assert [one["cluster"] for one in document["interfaces"]] == ["web"]
    (told,) = document["clusters"]
    assert told["connections"] == {}
    assert told["draining"][0]["connections"] == 0


@pytest.mark.parametrize(("seconds", "left"), [(12.6, "13 s"), (0.0, "0 s")])
def test_one_that_stops(seconds: float, left: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = fixed(stopping_seconds=seconds)
    assert printed(told, capsys)[1] == (
        f"  stopping: ends in {left} at the latest, and cannot be called off;"
        " a second signal ends it at once"
    )
    assert show_cluster.faults(told) == []


def with_keys(**nodes: tuple[int | None, list[int] | None]) -> Status:
    told = document()["nodes"]
    for node in told:
        node["key"], node["keys"] = nodes[node["name"]]
    return fixed(nodes=told)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([(1, [1]), (1, [1]), (1, [1])], []),
        ([(1, [1, 2]), (1, [1]), (1, [1])], []),
        ([(2, [1, 2]), (1, [1]), (1, [1, 2])], ["key 2, used by web1, is missing on web2"]),
        (
            [(2, [2]), (2, [1, 2]), (1, [1])],
            [
                "key 1, used by web3, is missing on web1",
                "key 2, used by web1, web2, is missing on web3",
            ],
        ),
        # An older daemon does not say what it has, nor does one that was never heard.
        ([(2, [1, 2]), (1, None), (None, None)], []),
    ],
)
def test_keys_that_are_missing(
    nodes: list[tuple[int | None, list[int] | None]],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = with_keys(**dict(zip(("web1", "web2", "web3"), nodes, strict=True)))
    assert [one.what for one in told.faults] == said
    assert all(one.code == "key-missing" and one.cure for one in told.faults)
    whole = " ".join(printed(told, capsys))
    assert all(one in whole for one in said)


def test_the_columns_fit_the_width_that_most_have(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(with_keys(web1=(2, [2]), web2=(1, [1]), web3=(1, [1])), capsys)
    (head,) = (at for at, line in enumerate(lines) if line.split()[:1] == ["node"])
    assert max(map(len, lines[head : head + 4])) <= 80


def test_causes_are_said_before_what_follows_from_them() -> None:
    lost, alone, down = (
        {"severity": "fault", "code": code, "what": "so", "why": "long?", "cure": "x"}
        for code in ("no-majority", "hears-nobody", "no-carrier")
    )
    told = fixed(faults=[lost, down], deaf={"web1": alone}, without_source=True)
    codes = [one.code for one in told.faults]
    assert codes == ["no-source", "no-carrier", "hears-nobody", "no-majority"]
    assert told.faults[2].sentence == "so: that follows from what is said before"
    assert told.faults[2].cure == "mend that first"


def test_who_hears_nobody_for_no_known_cause_is_told_what_to_look_at() -> None:
    alone = {"severity": "fault", "code": "hears-nobody", "what": "so", "why": "w?", "cure": "x"}
    (found,) = fixed(deaf={"web1": alone}).faults
    assert found.why == "w?"


def test_a_digest_tells_the_file_from_the_voters() -> None:
    """Where the files are the same and the voters are not, that is said, by another finding."""
    known = "0123456789abcdef"
    (found,) = with_node("web3", agrees=False, alive=False, digest=known).faults
    assert found.what == f"web3 has another configuration (digest {known})"
    same = with_node("web3", agrees=False, alive=False, digest=fixed().digest)
    assert same.faults == []


def test_how_long_a_question_stands(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {
        "severity": "fault",
        "code": "hears-nobody",
        "what": "is it open?",
        "why": "",
        "cure": "x",
    }
    raised = {"finding": asked, "about": "", "since_seconds": 3.0, "last_seconds": 0.0, "count": 1}
    lines = printed(fixed(faults=[asked], raised=[raised]), capsys)
    assert "is it open? It has been so for 3 s" in " ".join(lines)
