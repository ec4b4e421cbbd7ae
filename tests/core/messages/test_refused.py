"""Datagrams that were refused: bounded, and forgotten."""

from __future__ import annotations

from clusterip.core.messages.envelope import Fault
from clusterip.core.messages.refused import NOBODY, Refusals
from clusterip.core.units import SECOND


def test_by_node() -> None:
    refusals = Refusals(10 * SECOND)
    refusals.note(7, "a", Fault.MAC, now=0)
    refusals.note(7, "b", Fault.KEY, now=SECOND)
    refusals.note(8, "c", Fault.MAC, now=SECOND)
    one = refusals.of(7, now=10 * SECOND)
    assert one is not None
    assert (one.source, one.fault, one.count, one.last) == ("b", Fault.KEY, 2, SECOND)
    assert refusals.of(7, now=11 * SECOND) is None
    assert refusals.of(NOBODY, now=SECOND) is None
    # After a while it begins anew.
    refusals.note(7, "d", Fault.MAC, now=20 * SECOND)
    one = refusals.of(7, now=20 * SECOND)
    assert one is not None
    assert one.count == 1
    refusals.forget(7)
    refusals.forget(7)
    assert refusals.of(7, now=20 * SECOND) is None


def test_the_rest() -> None:
    refusals = Refusals(10 * SECOND)
    assert refusals.rest([], now=0) is None
    for at, node in enumerate((7, 8, NOBODY, 8)):
        refusals.note(node, f"from {at}", Fault.MAC, now=at)
    rest = refusals.rest([7], now=SECOND)
    assert rest is not None
    assert (rest.count, rest.source) == (3, "from 3")
    assert refusals.rest([7, 8, NOBODY], now=SECOND) is None
    assert refusals.rest([], now=11 * SECOND) is None


def test_another_cluster_is_no_fault() -> None:
    refusals = Refusals(10 * SECOND)
    refusals.note(NOBODY, "a", Fault.CLUSTER, now=0)
    assert refusals.rest([], now=0) is None
    # Nor does it hide one.
    refusals.note(NOBODY, "b", Fault.TRUNCATED, now=0)
    refusals.note(NOBODY, "a", Fault.CLUSTER, now=0)
    rest = refusals.rest([], now=0)
    assert rest is not None
    assert (rest.count, rest.source) == (1, "b")
