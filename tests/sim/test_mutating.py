"""How mutants are made: by a change of the text of modules, which are imported a second time."""

from __future__ import annotations

import sys

import pytest

import clusterip.core
from clusterip.core.lease import holder
from clusterip.core.lease.node import Node
from clusterip.core.lease.voter_set import VoterSet
from tests.sim.mutants import promises
from tests.sim.mutants.kind import Edit


@pytest.mark.parametrize("old", ["not there", "return"])
def test_a_place_that_is_not_there_once_is_refused(old: str) -> None:
    with pytest.raises(ValueError, match=r"lease/voter\.py: .* is there \d+ times"):
        Edit("lease/voter.py", old, "").applied("return 1\nreturn 2\n")


def test_a_mutant_is_another_class_and_leaves_the_real_modules_as_they_are() -> None:
    before = {name: one for name, one in sys.modules.items() if name.startswith("clusterip.")}
    mutated = promises.ANY_SET.kind()
    assert mutated is promises.ANY_SET.kind(), "it is loaded once"
    assert mutated is not Node
    assert mutated.__name__ == Node.__name__
    after = {name: one for name, one in sys.modules.items() if name in before}
    assert after == before
    assert clusterip.core.lease.holder is holder
    assert not VoterSet({1, 2, 3}).one_apart(frozenset({1}))
