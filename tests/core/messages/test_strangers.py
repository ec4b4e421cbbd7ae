"""Nodes that are not in the file: heard while they say something new."""

from __future__ import annotations

from clusterip.core.messages.message import Message
from clusterip.core.messages.strangers import Strangers


def said(node: int, incarnation: int, sequence: int) -> Message:
    return Message(node, incarnation, sequence, 5, 6, 0, 1, True, False, True, 0, 0, 0, 0)


def test_what_is_new_counts() -> None:
    strangers = Strangers(100)
    for at, sequence in enumerate((5, 6, 6, 4, 7)):
        strangers.note(said(9, 1, sequence), f"from {at}", now=at)
    (one,) = strangers.heard(now=50)
    assert (one.node, one.count, one.source, one.last) == (9, 3, "from 4", 4)
    assert strangers.heard(now=104) == []


def test_incarnations_are_bounded() -> None:
    strangers = Strangers(100)
    for incarnation in range(1, 40):
        strangers.note(said(9, incarnation, 1), "a", now=incarnation)
    assert len(strangers._all) == 16
    assert len(strangers.heard(now=40)) == 1
