"""Whether a node that is not heard here may still answer packets, as others say."""

from __future__ import annotations

from clusterip.core.lease.indirect import Indirect, lapsed
from clusterip.core.messages.echoes import Echoes, Heard
from clusterip.core.messages.message import Message

THREE = frozenset({1, 2, 3})


def said(voter: int, *heard: Heard, incarnation: int = 7) -> Message:
    return Message(voter, incarnation, 1, 1, 1, heard=Echoes.said(heard))


def test_silence_begins_when_a_voter_said_so_first() -> None:
    indirect = Indirect(100)
    assert indirect.silent_since(2, 3, None, 0) == 100
    indirect.take(said(2, Heard(3, 9, 5)), now=110)
    indirect.take(said(2, Heard(3, 9, 5)), now=120)
    assert indirect.silent_since(2, 3, None, 0) == 110
    indirect.take(said(2, Heard(3, 9, 6)), now=130)
    assert indirect.silent_since(2, 3, None, 0) == 130


def test_or_when_we_heard_the_same() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 6)), now=130)
    for incarnation, sequence, since in ((9, 6, 105), (9, 7, 105), (9, 5, 130), (10, 7, 130)):
        assert indirect.silent_since(2, 3, Message(3, incarnation, sequence, 1, 1), 105) == since


def test_a_new_memory_knows_less() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 5)), now=110)
    indirect.take(said(2, incarnation=8), now=150)
    assert indirect.silent_since(2, 3, None, 0) == 150


def test_who_was_outrun() -> None:
    indirect = Indirect(0)
    assert indirect.outran(3, None, 0)
    newest = Message(3, 9, 5, 1, 1)
    assert not indirect.outran(3, newest, 1)
    indirect.take(said(2, Heard(3, 9, 5)), now=1)
    assert not indirect.outran(3, newest, 1)
    indirect.take(said(2, Heard(3, 9, 6)), now=2)
    assert indirect.outran(3, newest, 1)
    # Another incarnation is a newer one unless that was said before we heard ours.
    indirect.take(said(2, Heard(3, 10, 1)), now=3)
    assert indirect.outran(3, newest, 2)
    assert not indirect.outran(3, newest, 3)


def test_a_lease_lapsed_when_enough_heard_nothing_for_long_enough() -> None:
    quorum = (THREE, 2)
    assert lapsed(quorum, {1: (10, 200), 2: (20, 120)}, 100)
    assert not lapsed(quorum, {1: (10, 200), 2: (20, 119)}, 100)
    assert not lapsed(quorum, {1: (10, 110), 2: (20, 500)}, 100), "not at the same time"
    assert not lapsed(quorum, {1: (10, 200)}, 100)
    assert not lapsed(quorum, {1: (10, 200), 9: (10, 200)}, 100), "who has no vote does not count"


def test_what_is_not_acknowledged_extends_no_lease() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 5)), now=110)
    indirect.take(said(2, Heard(3, 9, 6, acknowledged=False)), now=120)
    assert indirect.silent_since(2, 3, None, 0) == 110
    # But what it has heard it has heard.
    assert indirect.outran(3, Message(3, 9, 5, 1, 1), 115)


def test_what_is_not_known_is_nothing() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 5, known=False, acknowledged=False)), now=110)
    assert indirect.silent_since(2, 3, None, 0) == 110  # since it spoke at all
    assert indirect.heard_by(2, since=0) == []
    assert not indirect.outran(3, Message(3, 8, 5, 1, 1), 105)


def test_who_heard_whom_lately() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 5), Heard(1, 1, 1)), now=110)
    indirect.take(said(2, Heard(3, 9, 6), Heard(1, 1, 1)), now=120)
    assert indirect.heard_by(2, since=105) == [1, 3]
    assert indirect.heard_by(2, since=110) == [3]
    # Who acknowledges another was heard by it.
    assert indirect.heard_by(3, since=0) == [2]
    assert indirect.heard_by(3, since=120) == indirect.heard_by(9, since=0) == []


def test_who_was_named_and_when() -> None:
    indirect = Indirect(100)
    indirect.take(said(2, Heard(3, 9, 5), Heard(5, 1, 1, known=False, acknowledged=False)), now=110)
    indirect.take(said(4, Heard(6, 9, 5, acknowledged=False)), now=120)
    # The same again is nothing new, and what is said no more was said.
    indirect.take(said(2, Heard(3, 9, 5)), now=130)
    indirect.take(said(2), now=140)
    assert indirect.named([2]) == {3}
    assert indirect.named([2, 4, 9]) == {3, 6}
    assert [indirect.told_at(2, 3), indirect.told_at(4, 6), indirect.told_at(2, 5)] == [110, 120, 0]


def test_what_others_tell_of_drains() -> None:
    def told(voter: int, incarnation: int, sequence: int, drains: int) -> Message:
        return said(voter, Heard(3, incarnation, sequence))._replace(seen_draining=drains)

    indirect = Indirect(0)
    assert indirect.relayed(3, None) == 0
    newest = Message(3, 9, 5, 1, 1, draining=0b1)
    assert indirect.relayed(3, newest) == 0b1
    indirect.take(told(2, 9, 4, 0b10), now=1)
    assert indirect.relayed(3, newest) == 0b1, "older than what is known"
    indirect.take(told(2, 9, 6, 0b100), now=2)
    indirect.take(told(4, 9, 5, 0b1000), now=2)
    assert indirect.relayed(3, newest) == 0b100
    # Of two incarnations it is one.
    indirect.take(told(4, 10, 1, 0b1000), now=3)
    assert indirect.relayed(3, newest) == 0b1100
    # One of another configuration cannot tell.
    indirect.take(told(5, 10, 2, 0), same=False, now=4)
    assert indirect.relayed(3, newest) == 0b1100
