"""What is declared of a key is all there is to say of it: the rest follows."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from clusterip.core.config import changes, values
from clusterip.core.config.declared import TABLES, Check, Cluster, Node
from clusterip.core.config.declaring import RESTART, Effect, Key
from clusterip.core.config.faults import Fault
from clusterip.core.config.model import CommandCheck, Config, HttpCheck
from clusterip.core.config.model import Node as ConfigNode
from clusterip.core.config.table import Notes, Table
from clusterip.core.units import SECOND
from tests.core.config.page import PAGE, rows, written
from tests.core.config.texts import config_with


class Larger(Cluster, title="cluster"):
    """The table [cluster] with one key more."""

    patience = Key(values.duration(SECOND, values.HOUR), 90 * SECOND, RESTART).says(
        "how long it waits, {range}"
    )


class LargerConfig(Config, frozen=True):
    patience: int = 90 * SECOND


def read(**content: object) -> tuple[Larger, list[Fault]]:
    notes = Notes({(): 1})
    return Larger((), {"name": "web", **content}, notes), notes.faults


def larger(patience: int) -> LargerConfig:
    fields = msgspec.structs.asdict(config_with("port = 7"))
    return LargerConfig(**fields, patience=patience)


def test_a_key_more_is_read() -> None:
    table, faults = read(patience="2m", port=7)
    assert not faults
    assert (table.patience, table.port) == (120 * SECOND, 7)
    assert read()[0].patience == 90 * SECOND


def test_a_key_more_is_checked_and_suggested() -> None:
    (fault,) = read(patience="2h")[1]
    assert fault.message == "patience: '2h' is not in 1s..1h"
    (fault,) = read(patence="2m")[1]
    assert fault.message == "unknown key 'patence' in [cluster]"
    assert fault.cure == 'did you mean "patience"?'


def test_a_key_more_is_reloaded() -> None:
    (found,) = changes.of_keys(Larger, larger(90 * SECOND), larger(60 * SECOND)).values()
    assert (found.effect, found.what, found.old, found.new) == (
        Effect.RESTART,
        "patience",
        "90s",
        "1m",
    )
    assert found.why == RESTART.why


def test_a_key_more_is_documented() -> None:
    assert rows(Larger) == (
        f'{rows(Cluster)}| `patience` | `"90s"` | how long it waits, `"1s"`..`"1h"` | restart |\n'
    )


def test_the_page_has_what_is_declared() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text(), "run make format"


@pytest.mark.parametrize(
    "key",
    [pytest.param(key, id=f"{table.title}.{key.name}") for table in TABLES for key in table.keys],
)
def test_a_default_is_what_its_text_is_read_as(key: Key[Any]) -> None:
    if key.default in {None, ""}:
        return
    text = key.text(key.default)
    plain = type(key.default) in {bool, int} and not text[-1:].isalpha()
    said = text if plain or key.default is False else f'"{text}"'
    assert key.read(tomllib.loads(f"it = {said}")["it"]) == key.default


@pytest.mark.parametrize(
    ("table", "models", "elsewhere"),
    [
        # They show in each VIP and each node.
        (Cluster, [Config], {"interface", "mac"}),
        (Node, [ConfigNode], set()),
        (Check, [HttpCheck, CommandCheck], {"type"}),
    ],
)
def test_a_change_of_each_key_is_seen(
    table: type[Table], models: list[type[msgspec.Struct]], elsewhere: set[str]
) -> None:
    known = {field for model in models for field in model.__struct_fields__}
    assert {key.field or key.name for key in table.keys} - known == elsewhere
