"""What a change of the file takes: each key is classed, and nodes come and go one at a time."""

from __future__ import annotations

import re

import pytest

from clusterip.core.config.changes import differences
from clusterip.core.config.declaring import Effect
from clusterip.core.config.model import Config
from clusterip.core.config.reading import read
from tests.core.config.texts import DOCS, SMALL, config_with

OLD = read(SMALL)


def nodes(*tables: str) -> Config:
    head = SMALL[: SMALL.index("[[node]]")]
    return read(head + "".join(f'[[node]]\nname = "{table}\n' for table in tables))


THREE = nodes('a"', 'b"', 'c"')


def effects(old: Config, new: Config) -> list[tuple[Effect, str, str, str]]:
    found = differences(old, new)
    assert all(one.why for one in found if one.effect is not Effect.IN_PLACE)
    assert all(one.old != one.new for one in found)
    return [(one.effect, one.what, one.old, one.new) for one in found]


def test_nothing_changed() -> None:
    assert differences(OLD, read(f"# new\n{SMALL}")) == ()


@pytest.mark.parametrize(
    ("line", "effect", "old", "new"),
    [
        ("port = 7", Effect.TOGETHER, "5407", "7"),
        ('profile = "relaxed"', Effect.TOGETHER, "default", "relaxed"),
        ("buckets = 64", Effect.TOGETHER, "120", "64"),
        ("hash_init = 1", Effect.TOGETHER, "0", "1"),
        ('key_file = "/k"', Effect.IN_PLACE, "/etc/clusterip.key", "/k"),
        ('quorum = "alive"', Effect.IN_PLACE, "majority", "alive"),
        ('stop = "drain"', Effect.IN_PLACE, "release", "drain"),
        ('drain_timeout = "90s"', Effect.IN_PLACE, "5m", "90s"),
        ('udp_watch = "500ms"', Effect.IN_PLACE, "2s", "500ms"),
        ('udp_keep = "1m"', Effect.IN_PLACE, "30s", "1m"),
        ("announce_count = 5", Effect.IN_PLACE, "3", "5"),
        ('announce_interval = "2s"', Effect.IN_PLACE, "1s", "2s"),
    ],
)
def test_cluster(line: str, effect: Effect, old: str, new: str) -> None:
    assert effects(OLD, config_with(line)) == [(effect, line.partition(" ")[0], old, new)]


def test_the_name() -> None:
    assert effects(OLD, read(SMALL.replace('"web"', '"shop"'))) == [
        (Effect.TOGETHER, "name", "web", "shop")
    ]


@pytest.mark.parametrize(
    ("cluster", "vip"),
    [
        ('mac = "01:00:5e:00:00:20"', ""),
        ("", 'mac = "01:00:5e:00:00:20"'),
        ("", 'hashmode = "sourceip"'),
        ("", 'service = [{ protocol = "tcp" }]'),
        ("", 'service = [{ protocol = "all", action = "single" }]'),
        ("", 'service = [{ protocol = "all", action = "drop" }]'),
    ],
)
def test_vips(cluster: str, vip: str) -> None:
    ((effect, what, _, _),) = effects(OLD, config_with(cluster, vip))
    assert (effect, what) == (Effect.TOGETHER, "vip 10.9.0.100")


def test_a_vip_more_and_less() -> None:
    more = config_with(vip='[[vip]]\naddress = "10.9.0.7"')
    line = "mac 01:00:5e:00:00:a7; service 0 0 65535 sourceip-sourceport"
    assert effects(OLD, more) == [(Effect.TOGETHER, "vip 10.9.0.7", "", line)]
    assert effects(more, OLD) == [(Effect.TOGETHER, "vip 10.9.0.7", line, "")]


@pytest.mark.parametrize(
    ("node", "effect", "what", "old", "new"),
    [
        ("weight = 1", Effect.IN_PLACE, "node web3 weight", "100", "1"),
        ('address = "10.9.0.3"', Effect.IN_PLACE, "node web3 address", "", "10.9.0.3"),
        ('interface = "eth9"', Effect.RESTART, "node web3 interface", "eth0", "eth9"),
        ("witness = true", Effect.RESTART, "node web3 role", "server", "witness"),
    ],
)
def test_nodes(node: str, effect: Effect, what: str, old: str, new: str) -> None:
    assert effects(OLD, config_with(node=node)) == [(effect, what, old, new)]


def test_one_voter_more_and_less() -> None:
    four = nodes('a"', 'b"', 'c"', 'd"')
    assert effects(THREE, four) == [(Effect.VOTER, "node d", "", "server")]
    assert effects(four, THREE) == [(Effect.VOTER, "node d", "server", "")]


def test_the_third_voter_less_changes_the_quorum_too() -> None:
    quorum, node = differences(THREE, nodes('a"', 'b"'))
    assert (quorum.effect, quorum.new) == (Effect.IN_PLACE, "alive")
    assert quorum.why == "from now on, when the network between the two splits, both answer"
    assert (node.effect, node.what) == (Effect.VOTER, "node c")


def test_a_role_changes_no_vote() -> None:
    witness = nodes('a"', 'b"', 'c"\nwitness = true')
    assert effects(THREE, witness) == [(Effect.RESTART, "node c role", "server", "witness")]
    assert effects(witness, THREE) == [(Effect.RESTART, "node c role", "witness", "server")]
    assert "its buckets move to the others meanwhile" in differences(THREE, witness)[0].why


def test_the_third_voter_changes_the_quorum_too() -> None:
    assert effects(nodes('a"', 'b"'), nodes('a"', 'b"', 'w"\nwitness = true')) == [
        (Effect.IN_PLACE, "quorum", "alive", "majority"),
        (Effect.VOTER, "node w", "", "witness"),
    ]


@pytest.mark.parametrize(
    "new",
    [
        nodes('a"'),
        nodes('a"', 'b"', 'c"', 'd"', 'e"'),
        nodes('a"', 'b"', 'd"'),
        nodes('a"', 'b"', 'w"\nwitness = true'),
    ],
)
def test_two_voters_at_once_are_refused(new: Config) -> None:
    found = [one for one in differences(THREE, new) if one.effect is Effect.REFUSED]
    assert len(found) == 2
    assert all("change one node, on every host, then the next" in one.why for one in found)
    assert not [one for one in differences(THREE, new) if one.effect is Effect.VOTER]


def test_checks() -> None:
    check = '[[check]]\nname = "c"\ntype = "tcp"\nport = 80\n'
    one, other = config_with(rest=check), config_with(rest=f"{check}rise = 9")
    assert effects(OLD, one) == [(Effect.IN_PLACE, "check c", "", "there")]
    assert effects(one, other) == [(Effect.IN_PLACE, "check c rise", "2", "9")]
    assert effects(other, OLD) == [(Effect.IN_PLACE, "check c", "there", "")]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "interval = '5s'", [("interval", "2s", "5s")]),
        ("", "port = 81", [("port", "80", "81")]),
        (
            "type = 'http'",
            "type = 'http'\npath = '/up'\nstatus = ['200', '204-206']\nbody = 'ok'",
            [("path", "/", "/up"), ("status", "200-299", "200, 204-206"), ("body", "", "ok")],
        ),
        (
            "",
            "type = 'http'",
            [
                ("type", "tcp", "http"),
                ("host", "", "127.0.0.1"),
                ("path", "", "/"),
                ("status", "", "200-299"),
            ],
        ),
        (
            "",
            "type = 'command'\ncommand = ['/bin/a b', 'c']",
            [
                ("type", "tcp", "command"),
                ("address", "127.0.0.1", ""),
                ("port", "80", ""),
                ("command", "", "'/bin/a b' c"),
            ],
        ),
    ],
)
def test_what_changed_in_a_check(old: str, new: str, told: list[tuple[str, str, str]]) -> None:
    def with_check(text: str) -> Config:
        kind = "" if "type" in text else "type = 'tcp'\n"
        port = "" if "port" in text or "command" in text else "port = 80\n"
        return config_with(rest=f"[[check]]\nname = 'c'\n{kind}{port}{text}\n")

    found = effects(with_check(old), with_check(new))
    assert found == [(Effect.IN_PLACE, f"check c {key}", *texts) for key, *texts in told]


def test_the_words_of_the_documentation() -> None:
    words = re.findall(
        r"^\| (.+?) \|",
        (DOCS / "configuration.md").read_text().partition("## ")[0],
        flags=re.MULTILINE,
    )
    assert {one.value.removeprefix("all hosts ") for one in Effect} - {"refused"} == set(words[1:])
