"""What a daemon leaves to its successor, which may be of a newer or an older release."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core import leftovers
from clusterip.core.errors import SystemFaultError
from clusterip.core.leftovers import Had, Handed, Note, Voters

BOOT = "of the kernel"
HANDED = Handed(
    boot=BOOT,
    node=msgspec.Raw(b'{"version":1}'),
    draining_since={3: 10},
    health={"healthy": True, "checks": {}},
    weight=7,
    had={2: Had(state="owned", since=5, of=77), 3: Had(state="draining", since=10, of=0)},
    alarms=[{"about": "web2", "since": 3}],
)
TIMES = st.integers(0, (1 << 63) - 1)
JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


def document() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(leftovers.encode(HANDED))
    return value


def test_comes_as_it_was() -> None:
    assert leftovers.decode(leftovers.encode(HANDED), Handed, BOOT) == HANDED
    assert leftovers.decode(leftovers.encode(HANDED), Handed, "another") is None


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_not_known_is_left_alone(more: dict[str, Any]) -> None:
    """A newer release hands over more, to this one that is put back in its place."""
    new = {key: value for key, value in more.items() if key not in document()}
    of_bucket = {key: value for key, value in new.items() if key not in ("state", "since", "of")}
    grown = {**document(), **new}
    grown["had"] = {bucket: {**of_bucket, **one} for bucket, one in grown["had"].items()}
    assert leftovers.decode(msgspec.json.encode(grown), Handed, BOOT) == HANDED


@given(st.dictionaries(st.text(), JSON, max_size=4), TIMES, st.frozensets(st.text()))
def test_of_a_note_and_of_voters_too(
    more: dict[str, Any], until: int, names: frozenset[str]
) -> None:
    for one in (Note(boot=BOOT, until=until), Voters(boot=BOOT, names=names)):
        grown = msgspec.json.encode(more | json.loads(leftovers.encode(one)))
        assert leftovers.decode(grown, type(one), BOOT) == one  # type: ignore[type-var]


@pytest.mark.parametrize("name", ["draining_since", "health", "weight", "had", "alarms"])
def test_what_an_older_release_does_not_hand_over_has_its_default(name: str) -> None:
    old = {key: value for key, value in document().items() if key != name}
    default = getattr(Handed(boot=BOOT, node=HANDED.node), name)
    wanted = msgspec.structs.replace(HANDED, **{name: default})
    assert leftovers.decode(msgspec.json.encode(old), Handed, BOOT) == wanted


def test_of_a_bucket_any_key_may_be_missing() -> None:
    grown = document()
    grown["had"] = {"1": {}}
    read = leftovers.decode(msgspec.json.encode(grown), Handed, BOOT)
    assert read is not None
    assert read.had == {1: Had(state="", since=0, of=0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"draining_since": {"3": -1}},
        {"draining_since": {"0": 1}},
        {"draining_since": {"3": 1 << 63}},
        {"weight": -1},
        {"weight": 256},
        {"had": {"257": {}}},
        {"had": {"1": {"since": -1}}},
        {"had": {"1": {"of": -1}}},
    ],
)
def test_a_number_that_is_out_of_range_is_damage(wrong: dict[str, Any]) -> None:
    with pytest.raises(SystemFaultError, match="the hand-over is damaged"):
        leftovers.decode(msgspec.json.encode(document() | wrong), Handed, BOOT)


@pytest.mark.parametrize("until", [-1, 1 << 63])
def test_so_is_that_of_a_note(until: int) -> None:
    raw = leftovers.encode(Note(boot=BOOT, until=until))
    assert leftovers.decode(raw, Note, "another") is None
    with pytest.raises(SystemFaultError, match="damaged"):
        leftovers.decode(raw, Note, BOOT)
