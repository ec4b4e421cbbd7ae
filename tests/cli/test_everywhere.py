"""Every command of the table in every locale: in a pipe, on narrow terminals, without colour."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.adapters.abi import NO_DEADLINE
from clusterip.adapters.pinned_maps import PinnedMaps
from clusterip.cli.main import main
from clusterip.core.config.reading import read
from clusterip.core.config.state import GROUP, interface_state
from clusterip.core.errors import RefusedError
from clusterip.runtime.rule_table import RuleTable
from tests.cli.answering import answering
from tests.cli.conftest import CONFIG
from tests.cli.elsewhere import Elsewhere, Said, elsewhere
from tests.cli.test_main import COMMANDS
from tests.namespaces import own_namespace

ODD = "2001:db8:a:b::1 [red]:smile:[-] é€日本".encode() + b"\xff\x9b"
"""What rich would make something else of, what latin-1 has not, and what UTF-8 has not."""
SAID = "2001:db8:a:b::1 [red]:smile:[/] é€日本"

FILE = CONFIG.replace("10.9.0.201", "2001:db8:a:b::1")
STATIC = (
    "-A INPUT -d 10.9.0.100/32 -i wire -p udp -j CLUSTERIP --new --hashmode sourceip"
    " --clustermac 01:00:5E:00:00:20 --total-nodes 3 --local-node 1 --hash-init 7"
)
SAVED = f"# {SAID}\n{STATIC}\n-A INPUT -p {SAID.rsplit(maxsplit=1)[-1]} -j ACCEPT\n"
CSV = f"src,é:b:,€\n192.0.2.7,{SAID},日本\n"

PLACES: dict[str, dict[str, str]] = {
    "C": {"LC_ALL": "C"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1": {"LC_ALL": "en_US.ISO-8859-1"},
    "UTF-8": {"LC_ALL": "C.UTF-8"},
}
LAYOUTS: dict[str, tuple[int, dict[str, str]]] = {
    "pipe": (0, {}),
    "40 columns": (40, {}),
    "80 columns": (80, {}),
    "no colour": (80, {"NO_COLOR": "1"}),
    "dumb": (40, {"TERM": "dumb"}),
}
FOR_ALL = ("pipe", "40 columns")
"""How it is looked at in every locale; in all ways in the usual one, for the two have little to do
with each other."""


def own(command: str, folder: bytes) -> list[tuple[bytes, ...]]:
    """Return command lines that make a command say what it has to say, and change nothing."""
    odd = folder + b"/" + ODD
    lines: dict[str, list[tuple[bytes, ...]]] = {
        "run": [(b"-c", odd + b".key")],
        "witness": [(b"-c", odd + b".key")],
        "check": [(odd, b"--node", b"web1"), (odd + b".key",)],
        "keygen": [(odd + b".key", b"--use", b"1"), (odd,)],
        "reload": [()],
        "restart": [()],
        "drain": [(b"--wait", b"web2")],
        "undrain": [(b"web3",)],
        "weight": [(b"100", b"web1")],
        "show": [(), (b"--json",)],
        "events": [()],  # no daemon tells any
        "iptables": [(b"-S",), (b"-L", b"-v")],
        "import": [(odd + b".rules",)],
        "bucket": [(b"2001:db8:a:b::1",), (b"10.9.0.100", b"+9")],
        "which": [
            (b"--vip", b"2001:db8:a:b::1", b"--src", b"2001:db8:a:b::2"),
            (b"--hashmode", b"sourceip", b"--total-nodes", b"3", b"--csv", odd + b".csv"),
        ],
        "announce": [(b"10.9.0.200", b"2001:db8:a:b::1")],  # the daemon's: at once
        "statefiles": [(b"--mount", odd)],
        "flush": [()],
    }
    assert command in lines, f"say here how {command} is run"
    return lines[command]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A folder with files whose names are odd, and what is in them too."""
    folder = os.fsencode(tmp_path_factory.mktemp("odd"))
    for name, text in (
        (ODD, f"# {SAID}\n{FILE}"),
        (b"--" + ODD, ""),  # `keygen` takes it for the name of a file, for it has a space
        (ODD + b".key", f"1:{64 * '1'} # é\n2:{64 * '2'}\n"),
        (ODD + b".rules", SAVED),
        (ODD + b".csv", CSV),
    ):
        Path(os.fsdecode(folder + b"/" + name)).write_text(text)
    return folder


@pytest.fixture(scope="module")
def world() -> Iterator[None]:
    """A namespace with rules by hand on one interface, and a daemon that runs the other."""
    with own_namespace() as pins:
        Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
        assert main(["iptables", *STATIC.split()]) == 0
        state = interface_state(read(FILE), socket.if_nametoindex("eth0"), "eth0")
        RuleTable.open().edit(lambda chain: chain.with_interface(state))
        with PinnedMaps(pins).open(state.index) as maps:
            maps.set_deadline(GROUP, NO_DEADLINE)
        try:
            with answering() as daemon:
                daemon.document["checks"] = [
                    {"name": SAID, "good": False, "in_a_row": 1, "detail": SAID}
                ]
                daemon.document["announce_count"] = 1
                daemon.node("web2").update(leaving=True, held=[], draining=[])
                daemon.node("web1")["votes"] = {"2001:db8:a:b::1": list(range(200))}
                daemon.changes = [f"VIP {SAID} added"]
                daemon.refuses("restart", RefusedError(SAID, SAID))
                yield
        finally:
            shutil.rmtree(runfiles.ROOT / pins.name, ignore_errors=True)


@pytest.fixture(scope="module")
def latin1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes Python start in a locale with latin-1, whether the system has one or not."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef"):
        name = "en_US.ISO-8859-1"
        words = ("localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / name))
        if not subprocess.run(words, capture_output=True, check=False).returncode:
            return {"LC_ALL": name, "LOCPATH": str(folder)}
    return {**PLACES["ASCII"], "PYTHONIOENCODING": "latin-1"}


@pytest.fixture(scope="module")
def places(world: None, latin1: dict[str, str], folder: bytes) -> Iterator[dict[str, Elsewhere]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(elsewhere(latin1 if name == "latin-1" else variables, folder))
            for name, variables in PLACES.items()
        }


def plain(said: Said) -> bytes:
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", said.out + said.err)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_everywhere(place: str, command: str, places: dict[str, Elsewhere], folder: bytes) -> None:
    for line in [(b"--help",), (ODD,), (b"--" + ODD,), *own(command, folder)]:
        words = (command.encode(), *line)
        expected = places["UTF-8"](*words)
        # A list does not repeat what the first column of a table is about.
        told = {word for word in expected.out.split() if word.isascii()} - {
            b"VIP",
            b"node",
            b"service",
        }
        for layout in LAYOUTS if place == "UTF-8" else FOR_ALL:
            columns, variables = LAYOUTS[layout]
            said = places[place](*words, columns=columns, variables=variables)
            where = f"{layout}: {words!r}: {said}"
            assert said.status == expected.status != 99, where
            assert b"Traceback" not in said.out + said.err, where
            if layout not in {"40 columns", "80 columns"}:
                assert b"\x1b" not in said.out + said.err, where
            if line != (b"--help",):
                assert {one for one in told if one not in plain(said)} == set(), where


@pytest.mark.parametrize("command", COMMANDS)
def test_all_is_told_in_json(
    command: str, places: dict[str, Elsewhere], folder: bytes, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    lines: list[tuple[bytes, ...]] = own(command, folder)
    if command == "keygen":
        lines = [(os.fsencode(keys),)]
    if command == "iptables":
        lines = [*lines, (b"-Z",)]
    for line in lines:
        words = (command.encode(), *line)
        in_words = places["UTF-8"](*words)
        keys.unlink(missing_ok=True)
        said = places["UTF-8"](*words, b"--json")
        assert said.status == in_words.status
        told = [json.loads(one) for one in (said.out, *said.err.splitlines()) if one]
        assert told, words
        if command in {"run", "witness"}:
            # It is what the log says last.
            assert told[-1]["event"]["kind"] == "failed"
        elif said.err:
            fault = told[-1]["error"]
            assert fault["message"]
            assert (set(fault), fault["status"]) == ({"message", "cure", "status"}, said.status)
        elif isinstance(told[0], dict) and command not in {"show", "check", "which"}:
            assert told[0].get("done") or told[0].get("rules") or told[0].get("announced")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_command_line_is_told_in_json(command: str, places: dict[str, Elsewhere]) -> None:
    for line in ((command.encode(), b"--bogus", b"--json"), (command.encode() + b"x", b"--json")):
        said = places["UTF-8"](*line)
        assert (said.status, said.out) == (2, b"")
        fault = json.loads(said.err)["error"]
        assert fault["status"] == 2
        assert fault["message"]
        assert fault["cure"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_option(command: str, places: dict[str, Elsewhere]) -> None:
    help_ = places["UTF-8"](command.encode(), b"--help").out.decode()
    assert re.search(r"^ +--json ", help_, flags=re.MULTILINE)


RULE = "-d 10.9.0.100 -i wire -p tcp -m tcp --dport 80 -m comment --comment x -j CLUSTERIP"
TAKES = {
    "iptables": [
        f"-A INPUT {RULE} --new --hashmode sourceip --clustermac 01:00:5e:00:00:20 --hash-init 7",
        f"-A INPUT {RULE} --total-nodes 3 --local-node 1 --xdp auto",
        f"-C INPUT -s 192.0.2.1 {RULE}",
        "-D INPUT 7",
        "-L INPUT 1 -t filter",
    ],
    "which": [
        "--vip 10.9.0.100 --src 192.0.2.1 --sport 1 --dst 10.9.0.100 --dport 2 --proto tcp",
        "--hashmode sourceip --total-nodes 3 --hash-init 1 --source-prefix6 64 --csv no",
    ],
    "bucket": ["10.9.0.100 +1"],
    "weight": ["7 web2 --cluster web"],
    "keygen": ["no --use 1"],
    "check": ["no --node web1"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("bad", [b"\xff", b"1\xe9", "\u0661".encode(), b"\x1b[31m\n", b""])
def test_no_word_of_no_command_is_too_odd(
    command: str, bad: bytes, places: dict[str, Elsewhere]
) -> None:
    """Each word of each command line in turn is something else."""
    for line in TAKES.get(command, [""]):
        words = line.encode().split()
        for at in range(len(words) or 1):
            given = (command.encode(), *words[:at], bad, *words[at + 1 :])
            said = places["UTF-8"](*given)
            assert b"Traceback" not in said.err, said.err.decode(errors="replace")
            assert said.status in {0, 1, 2, 4}, (given, said)
            assert b"\x1b" not in said.err, (given, said)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unread", [(0,), (1,), (0, 1)], ids=["out", "err", "both"])
def test_nobody_reads_on(
    command: str, unread: tuple[int, ...], places: dict[str, Elsewhere], folder: bytes
) -> None:
    for line in [(b"--help",), (ODD,), *own(command, folder)]:
        words = (command.encode(), *line)
        expected = places["UTF-8"](*words)
        said = places["UTF-8"](*words, unread=unread)
        assert said.status == expected.status, (words, said)
        assert 0 in unread or said.out == expected.out
        assert 1 in unread or said.err == expected.err


def test_what_is_said_at_all(places: dict[str, Elsewhere], folder: bytes) -> None:
    """The lines above get somewhere: else nothing would be tested by them."""
    said = {
        (command, line): places["UTF-8"](command.encode(), *line)
        for command in COMMANDS
        for line in own(command, folder)
    }
    assert all(one.out + one.err for one in said.values())
    refused = {key[0] for key, one in said.items() if one.status}
    assert refused == {
        *("run", "witness", "check", "keygen", "restart", "bucket", "statefiles", "flush", "show"),
        "events",
    }
    show = said["show", ()].out
    assert b"  2001:db8:a:b::1 " in show
    assert f"check {SAID}: bad ({SAID})".encode() in show
    assert f": 1 change\n  VIP {SAID} added\n".encode() in said["reload", ()].out


AS_PRINTED = {"ASCII": b"w\\xfcrd\\u20ac", "latin-1": b"w\xfcrd\\u20ac"}
"""What the man page says of `würd€` in locales that lack characters; C has all of them."""


@pytest.mark.parametrize("place", PLACES)
def test_a_comment_keeps_its_bytes(
    place: str, places: dict[str, Elsewhere], tmp_path: Path
) -> None:
    comment = "würd€".encode() + b"\xe9"
    file = tmp_path / "rules"
    rule = RULE.encode().replace(b"comment x", b'comment "' + comment + b'"')
    file.write_bytes(b"*filter\n-A INPUT " + rule + b"\nCOMMIT\n")
    run = places[place]
    shown = run(b"import", os.fsencode(file)).out.removeprefix(b"clusterip ")
    shell = ("sh", "-c", b"printf '%s\\0' " + shown)
    words = subprocess.run(shell, capture_output=True, check=True).stdout.split(b"\0")[:-1]
    assert comment in words
    listed = run(b"iptables", b"-S").out
    assert comment not in listed
    assert run(*words).status == 0
    there = run(b"iptables", b"-S").out
    assert b'"' + comment + b'"' in there
    for_people = run(b"iptables", b"-L").out
    assert b"/* " + AS_PRINTED.get(place, "würd€".encode()) + b"\xe9 */" in for_people
    told = run(b"show", b"--json").out
    assert b"\\udc" not in told
    assert run(b"iptables", b"-D", *words[2:]).status == 0
    assert run(b"iptables", b"-S").out == listed
