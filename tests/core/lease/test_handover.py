"""The memory that a successor gets, which may be of a newer or an older release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import SystemFaultError
from clusterip.core.lease.handover import HandOver
from tests.core.lease.lan import MS, borne, cluster

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def handed() -> HandOver:
    lan = cluster()
    lan.nodes[1].drain(now=lan.now)
    lan.run(lan.now + 300 * MS)
    lan.nodes[1].prepare_restart(now=lan.now)
    return borne(lan, 1)


HANDED = handed()


def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(HANDED.encode())
    return value


def test_comes_as_it_was() -> None:
    assert HandOver.decode(HANDED.encode()) == HANDED
    assert HANDED.draining
    assert HANDED.promises
    assert HANDED.peers


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_not_known_is_left_alone(more: dict[str, Any]) -> None:
    """A newer release hands over more, to this one that is put back in its place."""
    new = {key: value for key, value in more.items() if key not in document()}
    grown = document() | new
    parts = ("promises", "peers", "proofs", "leads")
    for part in parts:
        grown[part] = [{**new, **entry} for entry in grown[part]]
    assert HandOver.decode(json.dumps(grown).encode()) == HANDED


@pytest.mark.parametrize("name", [name for name in document() if name != "version"])
def test_a_field_that_is_missing_or_of_another_type_is_damage(name: str) -> None:
    whole = document()
    wrong = {"a": 1} if isinstance(whole[name], list) else [1]
    for raw in (
        {key: value for key, value in whole.items() if key != name},
        whole | {name: wrong},
        whole | {name: None},
    ):
        with pytest.raises(SystemFaultError, match="damaged"):
            HandOver.decode(json.dumps(raw).encode())


def test_the_version_says_whether_names_mean_the_same() -> None:
    with pytest.raises(SystemFaultError, match="another version"):
        HandOver.decode(json.dumps(document() | {"version": 9}).encode())
