"""What each release wrote is read by this one, as it was meant.

`tests/vectors/released` has a file for each: the datagrams that it sent, under the key and in the
cluster that stand there, with their meaning; and what it handed over in a planned restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
import pytest

from clusterip.core.lease.handover import HandOver
from clusterip.core.messages.command import Command, CommandCodec
from clusterip.core.messages.message import Message
from clusterip.core.messages.wire import Codec

Kind = TypeVar("Kind", Message, Command)
RELEASES = sorted((Path(__file__).parents[1] / "vectors" / "released").glob("*.json"))


CALLED_NOW = {"boot": "incarnation", "term": "grace", "target_boot": "target_incarnation"}
"""What releases called otherwise in these files."""


def meant(kind: type[Kind], fields: dict[str, Any]) -> Kind:
    """Return what these fields say; one that came later has its default."""
    hints = get_type_hints(kind)
    named = {CALLED_NOW.get(name, name): value for name, value in fields.items()}
    return kind(**{name: msgspec.convert(value, hints[name]) for name, value in named.items()})


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
