"""Requests of commands: all that are right, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import RefusedError, UsageError
from clusterip.core.messages.request import (
    Drain,
    Reload,
    Request,
    Restart,
    Show,
    Undrain,
    Weight,
    read,
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"verb": "show"}\n', Show()),
        ('{"verb": "reload"}', Reload()),
        ('{"verb": "restart"}', Restart()),
        ('{"verb": "drain"}', Drain()),
        ('{"verb": "drain", "node": null}', Drain(None)),
        ('{"node": "web1", "verb": "undrain"}', Undrain("web1")),
        ('{"verb": "weight", "value": 0}', Weight(value=0)),
        ('{"verb": "weight", "node": "web2", "value": 255}', Weight(node="web2", value=255)),
    ],
)
def test_what_is_right(text: str, wanted: Request) -> None:
    assert read(text.encode()) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"verb": "weight", "value": -1}', "`value` must be 0..255"),
        ('{"verb": "weight", "value": 256}', "`value` must be 0..255"),
        (f'{{"verb": "weight", "value": 1{"0" * 400}}}', "`value` must be 0..255"),
        ('{"verb": "weight", "value": 1e999}', "$.value"),
        ('{"verb": "weight", "value": 1.5}', "$.value"),
        ('{"verb": "weight", "value": "3"}', "$.value"),
        ('{"verb": "weight", "value": true}', "$.value"),
        ('{"verb": "weight"}', "`value`"),
        ('{"verb": "drain", "value": 3}', "`value`"),
        ('{"verb": "drain", "node": 3}', "$.node"),
        ('{"verb": "show", "node": "web1"}', "`node`"),
        ('{"verb": null}', "$.verb"),
        ('{"verb": "drain", "verb": "show"}', "$.verb"),
        ("{}", "`verb`"),
        ("[]", "array"),
        ("", "truncated"),
        ('{"verb": "show"', "truncated"),
        ('{"verb": "show"} {}', "trailing"),
        ('{"x": ' + "[" * 100_000, ""),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(text.encode())
    assert said in refused.value.message
    assert "0..255" in refused.value.cure


def test_a_verb_that_is_not_known() -> None:
    with pytest.raises(RefusedError, match="does not know 'boil'") as refused:
        read(b'{"verb": "boil", "what": "an egg"}')
    assert "show, reload, restart, drain, undrain, weight" in refused.value.cure


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    with pytest.raises((UsageError, RefusedError)):
        read(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "verb": st.sampled_from(["show", "drain", "weight", "boil"]) | json_values,
            "value": st.integers(-2, 300) | json_values,
            "node": st.text(max_size=5) | json_values,
            "else": json_values,
        },
    )
)
def test_any_object_is_taken_whole_or_refused(document: dict[str, object]) -> None:
    try:
        request = read(json.dumps(document).encode())
    except (UsageError, RefusedError):
        return
    assert type(request).__name__.lower() == document["verb"]
    assert set(document) <= {"verb", "node", "value"}
    if isinstance(request, Weight):
        assert document["value"] == request.value
        assert 0 <= request.value <= 255
