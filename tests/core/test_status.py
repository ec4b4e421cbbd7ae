"""What `show --json` prints: its schema and its keys, held against what was shipped."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest

from clusterip.core import status
from clusterip.core.status import Document, Silent, Status
from tests.cli.answering import document
from tests.vectors import keys as vectors

FOUND = {"severity": "fault", "code": "deaf", "what": "it is", "why": "", "cure": "mend it"}
SILENT = {"daemon": "silent", "cluster": "mail", "fault": "it does not run", "cure": "start it"}


def read(told: object) -> Document:
    return status.DECODER.decode(json.dumps(told))


def test_the_schema_that_is_shipped() -> None:
    assert json.loads(vectors.SCHEMA.read_text()) == status.schema(), (
        "run python -m tests.vectors.keys"
    )


def test_no_key_went_or_changed() -> None:
    now = vectors.keys(status.schema())
    assert vectors.held(vectors.written(), now) == [], "that is another format"
    assert now == vectors.written(), "run python -m tests.vectors.keys"


@pytest.mark.parametrize(
    ("part", "key", "kind", "lost"),
    [
        ("Status", "node", None, ["Status.node: was string!, is gone"]),
        ("Status", "node", "integer!", ["Status.node: was string!, is integer!"]),
        ("Node", "weight", "integer!", ["Node.weight: was integer|null!, is integer!"]),
        ("Status", "news", "integer!", ["Status.news: has no default"]),
        ("Status", "news", "integer", []),
        ("News", "what", "integer!", []),
    ],
)
def test_a_key_that_goes_or_changes_is_found(
    part: str, key: str, kind: str | None, lost: list[str]
) -> None:
    new = copy.deepcopy(vectors.written())
    if kind is None:
        del new[part][key]
    else:
        new.setdefault(part, {})[key] = kind
    assert vectors.held(vectors.written(), new) == lost


def test_every_key_and_part_is_described() -> None:
    for name, part in status.schema()["$defs"].items():
        assert part["description"], name
    # What a number counts is said, or is its name.
    plain = {"bucket", "weight", "packets", "bytes", "ifindex", "hash_init", "pid", "sent", "count"}
    for name, part in status.schema()["$defs"].items():
        for key, value in part.get("properties", {}).items():
            kinds = {value.get("type"), *(one.get("type") for one in value.get("anyOf", ()))}
            if kinds & {"number", "integer"} and key not in {*plain, "announce_count"}:
                assert value.get("description"), f"{name}.{key}"


def test_a_daemon_and_one_that_is_silent() -> None:
    told = {"format": 1, "clusters": [document(), SILENT], "interfaces": []}
    whole = read(told)
    web, mail = whole.clusters
    assert isinstance(web, Status)
    assert (web.cluster, web.node) == ("web", "web1")
    assert mail == Silent(cluster="mail", fault="it does not run", cure="start it")
    assert json.loads(msgspec.json.encode(whole)) == told


def grown(told: Any) -> Any:
    """Return it as a newer program may say it."""
    if isinstance(told, dict):
        more = {} if {"1", "web1"} & told.keys() else {"news": {"from": 3}}
        return {**{key: grown(value) for key, value in told.items()}, **more}
    return [grown(one) for one in told] if isinstance(told, list) else told


def test_what_a_newer_daemon_says_is_read() -> None:
    told = document()
    told["messages"]["received"] = {"web1": 3}
    told["deaf"] = {"web1": FOUND}
    told["faults"] = [FOUND]
    told["connections"] = {"1": 2}
    for node in told["nodes"]:
        node["votes"] = {"web1": [1]}
    newer = grown({"format": 2, "clusters": [told, SILENT], "interfaces": []})
    assert newer != told
    assert read(newer) == read({"format": 2, "clusters": [told, SILENT], "interfaces": []})


def test_what_an_older_daemon_says_is_read() -> None:
    """What has a default, and what it stands for, is missing from it."""
    needed = {
        name: {key for key, kind in part.items() if kind.endswith("!")}
        for name, part in vectors.keys(status.schema()).items()
    }
    told = document()
    old = {key: value for key, value in told.items() if key in needed["Status"] - {"daemon"}}
    old["nodes"] = [
        {key: value for key, value in node.items() if key in needed["Node"]}
        for node in told["nodes"]
    ]
    said = msgspec.convert(old, Status, str_keys=True)
    assert (said.drain_timeout_seconds, said.stopping_seconds) == (None, None)
    assert (said.connections, said.held_down_by, said.in_control) == ({}, [], True)
    assert said.nodes[1].hears == []
