"""Asking a daemon until it is done; the commands' tests have the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusterip.adapters import runfiles
from clusterip.core.errors import RefusedError
from clusterip.core.messages.request import Undrain, Weight
from clusterip.runtime import asking
from tests.cli.answering import Answering, answering

pytestmark = pytest.mark.root("asking a daemon")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(runfiles, "ROOT", tmp_path)
    monkeypatch.setattr(asking, "_POLL_SECONDS", 0.01)
    with answering() as one:
        yield one


def test_what_says_that_it_is_done_is_returned(daemon: Answering) -> None:
    daemon.will("weight", "web2", weight=7)
    seen = asking.steer("web", Weight(node="WEB2", value=7))
    assert asking.meant(seen, "web2").weight == 7
    daemon.will("undrain", leaving=False)
    assert asking.meant(asking.steer("web", Undrain()), None).name == "web1"


def test_a_drain_to_its_end(daemon: Answering) -> None:
    steps = [([1], [2]), ([], [2]), ([], [])]
    looked: list[tuple[int, int]] = []

    def show() -> None:
        if daemon.asked and steps:
            held, draining = steps.pop(0)
            daemon.node().update(leaving=True, held=held, draining=draining)
            daemon.document["cut_connections"] = 3 - len(steps)

    daemon.does["show"] = show
    before = asking.status("web")
    drained = asking.drain_and_wait("web", None)
    assert (drained.node, drained.stopped, drained.cut_connections) == ("web1", False, 3)
    assert drained.sentence == "web1 is drained; 3 connections were cut off after 300 s"
    daemon.node().update(leaving=True)
    asking.wait("web", None, before, lambda node: looked.append((len(node.held), 0)))
    assert looked == [(0, 0)]


def test_who_is_not_there(daemon: Answering) -> None:
    with pytest.raises(RefusedError, match="knows no node 'nobody'"):
        asking.drain_and_wait("web", "nobody")
    assert daemon.asked == []
