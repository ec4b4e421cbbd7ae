"""Which nodes are reached only by what is said to everybody."""

from __future__ import annotations

import pytest

from clusterip.core.messages.ways import Ways

LATE, PATIENCE = 10, 100


def ways() -> Ways:
    return Ways(late=LATE, patience=PATIENCE)


def talk(one: Ways, until: int, *, alone: bool, every: int = 4) -> None:
    """Say something each 5 ns, everybody each so many; node 9 hears all of it, or only that."""
    heard = 0
    for sequence, now in enumerate(range(0, until, 5), start=1):
        everybody = sequence % every == 0
        one.said(sequence, everybody=everybody, now=now)
        one.heard(9, heard, now=now)
        if alone or everybody:
            heard = sequence


def test_who_hears_only_what_all_are_told_is_not_reached() -> None:
    one = ways()
    talk(one, PATIENCE, alone=False)
    assert one.missing(now=PATIENCE) == set()
    talk(one, 3 * PATIENCE, alone=False)
    assert one.missing(now=3 * PATIENCE) == {9}
    # What it does not show any more may be over.
    assert one.missing(now=4 * PATIENCE + 1) == set()


def test_one_message_that_went_to_it_alone_is_enough() -> None:
    one = ways()
    talk(one, 3 * PATIENCE, alone=False)
    one.said(1000, everybody=False, now=3 * PATIENCE)
    one.heard(9, 1000, now=3 * PATIENCE)
    assert one.missing(now=3 * PATIENCE) == set()


def test_other_addresses_are_another_matter() -> None:
    one = ways()
    talk(one, 3 * PATIENCE, alone=False)
    one.forget()
    assert one.missing(now=3 * PATIENCE) == set()


@pytest.mark.parametrize(("alone", "every"), [(True, 4), (False, 1), (True, 1), (True, 1000)])
def test_who_hears_all_is_reached_whatever_is_said_to_everybody(*, alone: bool, every: int) -> None:
    one = ways()
    talk(one, 3 * PATIENCE, alone=alone, every=every)
    assert one.missing(now=3 * PATIENCE) == set()


def test_who_hears_nothing_is_deaf_and_another_matter() -> None:
    one = ways()
    for sequence in range(1, 60):
        one.said(sequence, everybody=False, now=5 * sequence)
        one.heard(9, 0, now=5 * sequence)
    assert one.missing(now=300) == set()
