"""The mutants of the packet path are still about its source as it is."""

from __future__ import annotations

import pytest

from tests.bpf.mutants import MUTANTS
from tests.bpf.mutants.kind import SOURCE, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.file}: {one.breaks}")
def test_its_place_is_there_once(mutant: Mutant) -> None:
    source = (SOURCE / mutant.file).read_text(encoding="ascii")
    assert mutant.applied(source) != source


def test_they_are_many_and_of_every_file() -> None:
    assert sum(not one.same for one in MUTANTS) >= 40
    assert len({(one.file, one.old, one.new) for one in MUTANTS}) == len(MUTANTS)
    # abi.h says what is shared, and test_abi holds that.
    paths = [*SOURCE.glob("*.h"), *SOURCE.glob("*.c")]
    assert {one.file for one in MUTANTS} == {path.name for path in paths} - {"abi.h"}
