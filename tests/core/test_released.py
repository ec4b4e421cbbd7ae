"""What each release wrote is read by this one, as it was meant.

`tests/vectors/released` has a file for each: the datagrams that it sent, under the key and in the
cluster that stand there, with their meaning; and what it handed over in a planned restart. That of
`tests/vectors/host` has what it left on its host, and what its commands and its daemon said.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
import pytest

from clusterip.core import leftovers
from clusterip.core.config import reading
from clusterip.core.config.digest import hash_digest, voters_digest
from clusterip.core.config.key_file import read_keys
from clusterip.core.errors import RefusedError
from clusterip.core.health import Health
from clusterip.core.lease.handover import HandOver
from clusterip.core.leftovers import Handed, Note, Voters
from clusterip.core.messages import answer, request
from clusterip.core.messages.answer import Changes, Done
from clusterip.core.messages.command import Command, CommandCodec
from clusterip.core.messages.message import Echoes, Heard, Message
from clusterip.core.messages.wire import Codec
from clusterip.core.packets import state
from clusterip.core.status import Status
from tests.vectors import hosts
from tests.vectors.hosts import BOOT, WELL, Said, goes_on, same

Kind = TypeVar("Kind", Message, Command)
RELEASES = sorted((Path(__file__).parents[1] / "vectors" / "released").glob("*.json"))


CALLED_NOW = {"boot": "incarnation", "term": "grace", "target_boot": "target_incarnation"}
"""What releases called otherwise in these files."""


def meant(kind: type[Kind], fields: dict[str, Any]) -> Kind:
    """Return what these fields say; one that came later has its default."""
    hints = get_type_hints(kind)
    named = {CALLED_NOW.get(name, name): value for name, value in fields.items()}
    values: dict[str, Any] = {
        name: Echoes.said(msgspec.convert(value, list[Heard]))
        if hints[name] is Echoes
        else msgspec.convert(value, hints[name])
        for name, value in named.items()
    }
    return kind(**values)


class Released(msgspec.Struct):
    """What a release wrote, in hexadecimal where it is bytes."""

    cluster: int
    key: str
    total: int
    messages: list[tuple[str, dict[str, Any]]]
    commands: list[tuple[str, dict[str, Any]]]
    handover: msgspec.Raw


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def released(request: pytest.FixtureRequest) -> Released:
    path: Path = request.param
    return msgspec.json.decode(path.read_bytes(), type=Released)


def test_there_are_some() -> None:
    assert RELEASES


def test_its_messages(released: Released) -> None:
    keys = {1: bytes.fromhex(released.key)}
    codec = Codec(released.cluster, keys, 1, released.total)
    for raw, meaning in released.messages:
        assert codec.decode(bytes.fromhex(raw)) == meant(Message, meaning)


def test_its_commands(released: Released) -> None:
    codec = CommandCodec(released.cluster, {1: bytes.fromhex(released.key)}, 1)
    for raw, meaning in released.commands:
        assert codec.decode(bytes.fromhex(raw)) == meant(Command, meaning)


def test_its_hand_over(released: Released) -> None:
    handover = HandOver.decode(bytes(released.handover))
    again = msgspec.json.decode(handover.encode())
    assert msgspec.json.decode(bytes(released.handover)).items() <= again.items()


@pytest.fixture(params=sorted(hosts.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def said(request: pytest.FixtureRequest) -> Said:
    path: Path = request.param
    return msgspec.json.decode(path.read_bytes(), type=Said)


def test_what_it_left_to_its_successor(said: Said) -> None:
    note = leftovers.decode(said.note.encode(), Note, BOOT)
    voters = leftovers.decode(said.voters.encode(), Voters, BOOT)
    handed = leftovers.decode(said.handed.encode(), Handed, BOOT)
    for raw, found in ((said.note, note), (said.voters, voters), (said.handed, handed)):
        assert found is not None
        assert goes_on(json.loads(raw), json.loads(leftovers.encode(found)))
    assert handed is not None
    health = Health(reading.read(said.file).checks)
    health.restore(handed.health)
    assert {one.detail for one in health.reports()} == {WELL}


def test_what_its_commands_ask(said: Said) -> None:
    for line in said.requests:
        assert goes_on(spelt_out(line), spelt_out(answer.encode(request.read(line.encode()))))


def spelt_out(line: str | bytes) -> dict[str, Any]:
    """Return a request with what it leaves out: a node that is not named is this host's."""
    document: dict[str, Any] = json.loads(line)
    return {"node": None} | document


def test_what_its_daemon_answers(said: Said) -> None:
    assert same(said.status, answer.read(said.status.encode(), Status))
    assert same(said.changes, answer.read(said.changes.encode(), Changes))
    assert same(said.done, answer.read(said.done.encode(), Done))
    with pytest.raises(RefusedError) as caught:
        answer.read(said.failed.encode(), Done)
    assert same(said.failed, answer.failed(caught.value))


def test_its_rules_in_the_maps(said: Said) -> None:
    raw = bytes.fromhex(said.interface)
    again = state.encode(state.decode(raw))
    assert json.loads(zlib.decompress(again)) == json.loads(zlib.decompress(raw))


def test_its_files(said: Said) -> None:
    read = reading.read(said.file)
    assert f"{hash_digest(read):016x}" == said.hash_digest
    assert f"{voters_digest(read):016x}" == said.voters_digest
    assert [one.id for one in read_keys(said.key_file).every] == [1, 2]
