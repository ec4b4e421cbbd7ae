"""Requests and answers between a command and a daemon, of one release or of two."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterip.core.errors import ClusterIPError, RefusedError, SystemFaultError, UsageError
from clusterip.core.findings import Code, Finding
from clusterip.core.messages import answer
from clusterip.core.messages.answer import Changes, Done
from clusterip.core.messages.request import Drain, Reload, Restart, Show, Undrain, Weight, read
from clusterip.core.status import Status
from tests.cli.answering import document, status

JSON = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)
MORE = st.dictionaries(st.text(), JSON, max_size=4)
TOLD = status(document())
CHANGES = Changes(["weight of web2"], [Finding.of(Code.NO_CHECK, "no health check", cure="add it")])


BY_NAME = {"received", "votes", "deaf", "connections"}
"""What has names of nodes and the like for its keys."""


def grown(told: Any, more: dict[str, Any]) -> Any:
    """Return it as a newer program may say it: with more in each part."""
    if isinstance(told, dict):
        new = {f"newer {key}": value for key, value in more.items()}
        return new | {
            key: value if key in BY_NAME else grown(value, more) for key, value in told.items()
        }
    return [grown(one, more) for one in told] if isinstance(told, list) else told


@given(MORE)
def test_what_is_not_known_is_left_alone(more: dict[str, Any]) -> None:
    for one, kind in ((TOLD, Status), (CHANGES, Changes), (Done(), Done)):
        line = json.dumps(grown(json.loads(answer.encode(one)), more))
        assert answer.read(line.encode(), kind) == one  # type: ignore[type-var]


@given(MORE, st.sampled_from([RefusedError, UsageError, SystemFaultError]), st.text(), st.text())
def test_of_what_went_wrong_too(
    more: dict[str, Any], kind: type[ClusterIPError], message: str, cure: str
) -> None:
    line = json.dumps(grown(json.loads(answer.encode(answer.failed(kind(message, cure)))), more))
    with pytest.raises(kind) as caught:
        answer.read(line.encode(), Status)
    assert (caught.value.message, caught.value.cure) == (message, cure)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Show(), {"verb": "show"}),
        (Reload(), {"verb": "reload"}),
        (Restart(), {"verb": "restart"}),
        (Drain(), {"verb": "drain"}),
        (Undrain("web2"), {"verb": "undrain", "node": "web2"}),
        (Weight(value=0), {"verb": "weight", "value": 0}),
    ],
)
def test_no_more_is_asked_than_must_be(
    request_: Show | Reload | Restart | Drain | Undrain | Weight, said: dict[str, Any]
) -> None:
    """An older daemon refuses what it does not know: so what has its default is left out."""
    line = answer.encode(request_)
    assert json.loads(line) == said
    assert read(line) == request_
