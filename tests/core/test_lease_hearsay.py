"""Whether a node that is not heard here may still answer packets, as others say."""

from __future__ import annotations

from clusterip.core.lease_hearsay import Hearsay, enough
from clusterip.core.message import Heard, Message

THREE = frozenset({1, 2, 3})


def said(voter: int, *heard: Heard, boot: int = 7) -> Message:
    return Message(voter, boot, 1, 1, 1, heard=heard)


def test_silence_begins_when_a_voter_said_so_first() -> None:
    hearsay = Hearsay(100)
    assert hearsay.silent_since(2, 3) == 100
    hearsay.take(said(2, Heard(3, 9, 5)), now=110)
    hearsay.take(said(2, Heard(3, 9, 5)), now=120)
    assert hearsay.silent_since(2, 3) == 110
    hearsay.take(said(2, Heard(3, 9, 6)), now=130)
    assert hearsay.silent_since(2, 3) == 130


def test_a_new_memory_knows_less() -> None:
    hearsay = Hearsay(100)
    hearsay.take(said(2, Heard(3, 9, 5)), now=110)
    hearsay.take(said(2, boot=8), now=150)
    assert hearsay.silent_since(2, 3) == 150


def test_who_was_outrun() -> None:
    hearsay = Hearsay(0)
    assert hearsay.outran(3, None)
    newest = Message(3, 9, 5, 1, 1)
    assert not hearsay.outran(3, newest)
    hearsay.take(said(2, Heard(3, 9, 5)), now=1)
    assert not hearsay.outran(3, newest)
    hearsay.take(said(2, Heard(3, 9, 6)), now=2)
    assert hearsay.outran(3, newest)
    hearsay.take(said(2, Heard(3, 10, 1)), now=3)
    assert hearsay.outran(3, newest)


def test_enough_to_meet_in_every_majority() -> None:
    quorum = (THREE, 2)
    assert enough(quorum, 3, {1: 10, 2: 20}, before=20)
    assert not enough(quorum, 3, {1: 10, 2: 21}, before=20)
    assert not enough(quorum, 3, {1: 10, 3: 10}, before=20), "its own word does not count"
    assert not enough(quorum, 3, {1: 10, 9: 10}, before=20), "nor that of who has no vote"
