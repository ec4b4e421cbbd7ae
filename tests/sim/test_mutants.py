"""Each rule of the protocol, left out, leads to two owners: so each is needed, and is tested."""

from __future__ import annotations

import pytest

from tests.sim.kinds import MUTANTS
from tests.sim.mutants.kind import Mutant
from tests.sim.rule import TwoOwnersError
from tests.sim.schedule import Story, tell

SEEDS = 200
"""Within how many stories each must be caught."""
pytestmark = pytest.mark.long
STORIES = list(dict.fromkeys(story for _, story in MUTANTS))


@pytest.mark.parametrize(
    ("mutant", "story"), MUTANTS, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_the_simulation_catches(mutant: Mutant, story: type[Story]) -> None:
    for seed in range(SEEDS):
        try:
            story(seed, mutant.make()).run()
        except TwoOwnersError:
            return
        except AssertionError:
            continue  # a broken cluster may also fail to heal; that is not what we look for
    pytest.fail(f"{mutant.name} was not caught in {SEEDS} seeds")


@pytest.mark.parametrize("story", STORIES, ids=lambda kind: kind.__name__)
def test_what_catches_mutants_spares_the_real_one(story: type[Story]) -> None:
    tell(range(30), story)
