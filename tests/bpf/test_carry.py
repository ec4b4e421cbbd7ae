"""What helps other programs to take over: words are brought after, and messages heeded."""

from __future__ import annotations

from clusterip.adapters.abi import BucketState, Carried, Carry, Reason
from clusterip.adapters.clock import boottime
from clusterip.core import limits
from clusterip.core.messages.wire import clock_key
from tests.bpf.loaded import TC_ACT_SHOT, Loaded
from tests.bpf.reference import World
from tests.bpf.test_beat import (
    CLUSTER,
    INCARNATION,
    KEY,
    MINUTE,
    RULES,
    SECRET,
    SENDER,
    beat,
    carried,
)

UNSPEC = 2**32 - 1
WORDS = {Carry.VERDICTS: 1 + len(Reason), Carry.TRAFFIC: 2 * limits.BUCKETS, Carry.FLOW_SLOTS: 256}


def carry(loaded: Loaded, kind: int, key: int, word: int, by: int) -> bool:
    frame = bytes(Carried(map=kind, key=key, word=word, by=by))
    return loaded.carry.verdict(frame) != TC_ACT_SHOT


def test_words_are_added(loaded: Loaded) -> None:
    loaded.put(World(RULES))
    last = len(Reason) - 1
    for by in (5, 1 << 40):
        assert carry(loaded, Carry.VERDICTS, 3, 0, by)
        assert carry(loaded, Carry.VERDICTS, 3, 1 + last, by + 1)
        assert carry(loaded, Carry.TRAFFIC, 2, 511, by + 2)
    assert loaded.maps.count(3).bytes == 5 + (1 << 40)
    assert loaded.maps.count(3).packets[Reason(last)] == 7 + (1 << 40)
    assert loaded.maps.traffic(2)[255] == (0, 9 + (1 << 40))
    loaded.maps.zero_rule(3)
    loaded.maps.zero_traffic(2)


def test_flow_slots_are_noted(loaded: Loaded) -> None:
    loaded.maps.set_flow_slots(4, 256, 6)
    assert carry(loaded, Carry.FLOW_SLOTS, 4, 255, 1 << 63 | 3)
    assert loaded.maps.flow_slots(4, 256) == 1 << 63 | 7
    assert loaded.maps.flow_slots(4, 255) == 0
    loaded.maps.set_flow_slots(4, 256, 0)


def test_what_is_not_there_is_refused(loaded: Loaded) -> None:
    for kind, words in WORDS.items():
        assert carry(loaded, kind, 1, words - 1, 0)
        assert not carry(loaded, kind, 1, words, 0)
        assert not carry(loaded, kind, limits.RULES, 0, 0)
    assert not carry(loaded, max(Carry) + 1, 1, 0, 0)


def test_who_listens_closes_and_decides_nothing(loaded: Loaded) -> None:
    until = boottime() + MINUTE
    loaded.put(World(RULES, {0: [BucketState.OWNED]}, {0: until}))
    loaded.maps.trust({KEY: clock_key(SECRET, CLUSTER)})
    loaded.maps.follow(0, SENDER, INCARNATION, 0, 2 * MINUTE)
    before = loaded.counted(RULES)
    assert loaded.heed.verdict(carried(beat(boottime()))) == UNSPEC
    assert loaded.maps.deadline(0) == until
    assert loaded.heed.verdict(carried(beat(until))) == UNSPEC
    assert loaded.maps.deadline(0) == 0
    assert loaded.counted(RULES) == before
