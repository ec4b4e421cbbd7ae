"""Small faults put into the packet path, each of which some test in tests/bpf must notice."""

from __future__ import annotations

from tests.bpf.mutants.deciding import DECIDING
from tests.bpf.mutants.hearing import HEARING
from tests.bpf.mutants.kind import Mutant
from tests.bpf.mutants.plain import PLAIN
from tests.bpf.mutants.reading import READING
from tests.bpf.mutants.sending import SENDING
from tests.bpf.mutants.taking import TAKING

MUTANTS: tuple[Mutant, ...] = (*READING, *DECIDING, *PLAIN, *HEARING, *SENDING, *TAKING)
