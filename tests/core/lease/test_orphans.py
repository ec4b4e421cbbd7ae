"""Buckets that nobody asks for."""

from __future__ import annotations

from clusterip.core.lease.orphans import Orphans


def test_what_nobody_asks_for_is_asked_for_after_a_while() -> None:
    orphans = Orphans(10)
    assert orphans.next_due(now=0) is None
    assert orphans.look(0b11, now=100) == 0
    assert orphans.look(0b111, now=105) == 0
    assert orphans.next_due(now=105) == 110
    assert orphans.look(0b111, now=110) == 0b11
    assert orphans.next_due(now=110) == 115
    assert orphans.look(0b111, now=115) == 0b111
    assert orphans.next_due(now=115) is None


def test_what_somebody_asked_for_meanwhile_begins_anew() -> None:
    orphans = Orphans(10)
    orphans.look(0b1, now=100)
    assert orphans.look(0, now=105) == 0
    assert orphans.look(0b1, now=110) == 0
    assert orphans.look(0b1, now=120) == 0b1
