"""Who answers a bucket, as a daemon knows it."""

from __future__ import annotations

from typing import Any

import pytest

from clusterip.core.rules.whereabouts import holders
from tests.cli.answering import document, status


def said(lease: float = 0.5, **nodes: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return who answers bucket 3, and who keeps older connections; web1 is who says so."""
    told = document()
    told["lease_seconds"] = lease
    for node in told["nodes"]:
        node.update({"held": [], "draining": [], **nodes.get(node["name"], {})})
    return holders(status(told), 3)


def test_nobody() -> None:
    assert said() == ([], [])


@pytest.mark.parametrize("name", ["web1", "web2"])
def test_one_that_holds_it(name: str) -> None:
    nodes: Any = {name: {"held": [1, 3]}}
    assert said(**nodes) == ([name], [])


def test_one_that_takes_it_and_one_that_drains() -> None:
    assert said(web1={"draining": [3]}, web3={"held": [3]}) == (["web3"], ["web1"])


def test_without_a_lease_this_node_answers_nothing() -> None:
    assert said(0.0, web1={"held": [3]}) == ([], [])
    assert said(0.0, web1={"draining": [3]}, web2={"held": [3]}) == (["web2"], [])


@pytest.mark.parametrize("change", [{"alive": False}, {"agrees": False}])
def test_what_one_said_that_is_silent_or_goes_by_another_file(change: dict[str, Any]) -> None:
    assert said(web2={"held": [3], **change}) == ([], [])


def test_two_that_both_say_so() -> None:
    assert said(web1={"held": [3]}, web2={"held": [3]}) == (["web1", "web2"], [])
