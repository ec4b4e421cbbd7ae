"""The arithmetic of the profiles."""

from __future__ import annotations

import pytest

from clusterip.core.lease.timing import PROFILES, SERVE_WITHIN
from clusterip.core.units import MILLISECOND

MS = MILLISECOND


@pytest.mark.parametrize("name", PROFILES)
def test_a_promise_outlives_a_lease_on_any_two_clocks(name: str) -> None:
    timing = PROFILES[name]
    for grace in (timing.lease, timing.restart):
        # Divided by the fast clock's rate, against the slow clock's.
        assert timing.promise(grace) * 999 - timing.margin * 999 >= grace * 1001
    assert timing.restart >= timing.lease >= 5 * timing.interval


@pytest.mark.parametrize("name", PROFILES)
def test_survivors_can_serve_within_the_profile(name: str) -> None:
    timing = PROFILES[name]
    spare = SERVE_WITHIN[name] - timing.promise(timing.lease) - 2 * timing.gap
    assert spare >= 100 * MS
