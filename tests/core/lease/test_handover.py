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
    with pytest.raises(SystemFaultError, match="another release"):
        HandOver.decode(json.dumps(document() | {"version": 9}).encode())


OUT_OF_RANGE = {
    **dict.fromkeys(("node", "boot", "sequence", "config"), (-1, 1 << 64)),
    **dict.fromkeys(("owned", "taking", "draining", "said"), (-1, 1 << 256)),
    **dict.fromkeys(("deadline", "mute_until", "lent_until"), (-1, 1 << 63)),
    "voters": ([], [-1], [1 << 64]),
    "before": ([-1], [1 << 64]),
    "since": ({"-1": 1}, {"1": -1}, {"1": 1 << 256}, {str(1 << 64): 1}),
    "flows": ({"0": 1}, {"257": 1}, {"1": -1}, {"1": 1 << 64}),
    **dict.fromkeys(
        ("contact", "farewells", "bound"), ({"-1": 1}, {str(1 << 64): 1}, {"1": -1}, {"1": 1 << 63})
    ),
}
OF_PARTS = {
    "proofs": {"voter": 64, "until": 63, "buckets": 256},
    "promises": {"node": 64, "boot": 64, "buckets": 256, "until": 63},
    "peers": {"node": 64, "boot": 64, "sequence": 64, "borne_until": 63},
    "leads": {"node": 64, "boot": 64, "since": 63},
}


def damaged(whole: dict[str, Any]) -> None:
    with pytest.raises(SystemFaultError, match="damaged"):
        HandOver.decode(json.dumps(whole).encode())


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_number_that_is_out_of_range_is_damage(name: str) -> None:
    for wrong in OUT_OF_RANGE[name]:
        damaged(document() | {name: wrong})


@pytest.mark.parametrize("part", OF_PARTS)
def test_so_is_one_of_a_part(part: str) -> None:
    for name, bits in OF_PARTS[part].items():
        for wrong in (-1, 1 << bits):
            whole = document()
            assert name in whole[part][0]
            whole[part][-1][name] = wrong
            damaged(whole)
    for wrong in (1 << 63, -(1 << 63) - 1):
        whole = document()
        whole["leads"][0]["before"] = wrong
        damaged(whole)


def test_every_number_has_its_range() -> None:
    """One that comes later has one too."""
    named = {*OUT_OF_RANGE, *OF_PARTS, "version", "leaving", "incumbent", "lone"}
    assert set(document()) == named


@pytest.mark.parametrize("value", [0, (1 << 63) - 1])
def test_the_ends_of_a_range_are_in_it(value: int) -> None:
    names = [name for name in OUT_OF_RANGE if isinstance(document()[name], int)]
    whole = document() | dict.fromkeys(names, value)
    assert HandOver.decode(json.dumps(whole).encode()).deadline == value
