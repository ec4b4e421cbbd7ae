"""Faults in what helps other programs to take over: takeover.h."""

from __future__ import annotations

from functools import partial

from tests.bpf.mutants.kind import Mutant

_takeover = partial(Mutant, "takeover.h")

TAKING = (
    _takeover("sizeof(*counters) / sizeof(__u64)", "16", "the last reason is left out"),
    _takeover("sizeof(*flows) / sizeof(__u64)", "511", "the last bucket is left out"),
    _takeover("(__u64 *)counters + one->word", "(__u64 *)counters", "all are bytes"),
    _takeover("one->word < CI_BUCKETS", "one->word < CI_BUCKETS - 1", "a bucket is left out"),
    _takeover("&group->flow_slots[one->word]", "&group->flow_slots[0]", "flows of another bucket"),
)
