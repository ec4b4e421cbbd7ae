"""Echoes: as values, and what they have in common."""

from __future__ import annotations

from clusterip.core.messages import echoes
from clusterip.core.messages.echoes import Echoes, Heard

ONE = Heard(2, 20, 7)
OTHER = Heard(3, 30, 9, known=True, acknowledged=False)
UNKNOWN = Heard(4, 40, 1, known=False, acknowledged=False)


def test_they_are_what_was_said() -> None:
    said = Echoes.said((ONE, OTHER, UNKNOWN))
    assert tuple(said) == (ONE, OTHER, UNKNOWN)
    assert (len(said), said[1], said[1:]) == (3, OTHER, (OTHER, UNKNOWN))
    assert said == Echoes.said([ONE, OTHER, UNKNOWN])
    assert hash(said) == hash(Echoes.said([ONE, OTHER, UNKNOWN]))
    assert said != Echoes.said((ONE, OTHER))
    assert said != Echoes.said((ONE, OTHER, UNKNOWN._replace(sequence=2)))
    assert said != (ONE, OTHER, UNKNOWN)
    assert repr(ONE) in repr(said)
    assert not echoes.NONE


def test_of_whom_what_was_heard() -> None:
    said = Echoes.said((ONE, OTHER, UNKNOWN))
    assert (said.heard_of(2, 20), said.acknowledged(2, 20)) == (7, 7)
    assert (said.heard_of(2, 21), said.acknowledged(2, 21)) == (0, 0)
    assert (said.heard_of(3, 30), said.acknowledged(3, 30)) == (9, 0)
    assert (said.heard_of(5, 50), said.acknowledged(5, 50)) == (0, 0)
    assert (said.of.known, said.of.acknowledged) == ({2: 0, 3: 1}, {2: 0})


def test_only_sequences_are_new() -> None:
    said = Echoes.said((ONE, OTHER))
    next_one = Echoes.said((ONE._replace(sequence=8), OTHER), like=said.of)
    assert next_one.of is said.of
    assert [one.sequence for one in next_one] == [8, 9]
    others = (ONE._replace(incarnation=21), ONE._replace(known=False, acknowledged=False))
    for other in others:
        assert Echoes.said((other, OTHER), like=said.of).of is not said.of
