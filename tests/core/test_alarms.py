"""What is wrong now: since when, how often, and when it is over."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clusterip.core.alarms import Alarms
from clusterip.core.events import AlarmCleared
from clusterip.core.findings import Code, Finding
from clusterip.core.units import SECOND

STARVED = Finding.of(Code.STARVED, "starved", "412 ms late", cure="free the processor")
STRANGER = Finding.of(Code.STRANGER, "web9 is not in the file", cure="add it")
SILENT = Finding.of(Code.SILENT, "web2 is silent for 3 s", cure="see its log")


def test_what_happens_again_and_again_is_said_once() -> None:
    alarms = Alarms()
    said = [alarms.happened(STARVED, now=second * SECOND) for second in range(10)]
    assert [one is not None for one in said] == [True] + 9 * [False]
    (raised,) = alarms.now(now=20 * SECOND)
    assert (raised.count, raised.since_seconds, raised.last_seconds) == (10, 20, 11)
    assert alarms.hold([], now=68 * SECOND) == []
    (over,) = alarms.hold([], now=69 * SECOND)
    assert over.text == "over after 9 s, 10 times: starved"
    assert alarms.now(now=70 * SECOND) == []
    # Then it is news again.
    assert alarms.happened(STARVED, now=100 * SECOND) is not None


def test_what_is_held_is_over_when_it_is_not_found() -> None:
    alarms = Alarms()
    alarms.raised(STRANGER, "web9", now=0)
    assert alarms.hold([("web9", STRANGER)], now=SECOND) == []
    (over,) = alarms.hold([], now=2 * SECOND)
    assert isinstance(over, AlarmCleared)
    assert (over.code, over.about, over.seconds) == ("stranger", "web9", 1)
    assert alarms.now(now=2 * SECOND) == []


def test_what_was_not_said_is_not_said_to_be_over() -> None:
    alarms = Alarms()
    assert alarms.hold([("web9", STRANGER)], now=0) == []
    assert [one.about for one in alarms.now(now=0)] == ["web9"]
    assert alarms.hold([], now=SECOND) == []


def test_what_has_an_end_of_its_own_is_not_said_twice() -> None:
    alarms = Alarms()
    alarms.raised(SILENT, "web2", now=0)
    alarms.hold([("web2", SILENT)], now=SECOND)
    assert alarms.hold([], now=2 * SECOND) == []


def test_an_end_that_is_said_in_other_words() -> None:
    alarms = Alarms()
    alarms.raised(SILENT, "web2", now=0)
    over = alarms.over(Code.SILENT, "web2", "web2 is back", now=3 * SECOND)
    assert (over.text, over.seconds, over.count) == ("web2 is back", 3, 1)
    assert alarms.now(now=3 * SECOND) == []


def test_there_are_not_too_many() -> None:
    alarms = Alarms()
    for number in range(1000):
        alarms.raised(STRANGER, f"web{number}", now=0)
    assert len(alarms.now(now=0)) == 256


def test_what_is_said_is_news_again_when_it_was_over() -> None:
    alarms = Alarms()
    assert not alarms.is_said(STRANGER, "web9")
    alarms.hold([("web9", STRANGER)], now=0)
    assert not alarms.is_said(STRANGER, "web9")
    alarms.raised(STRANGER, "web9", now=0)
    assert alarms.is_said(STRANGER, "web9")
    assert not alarms.is_said(STRANGER, "web8")
    alarms.hold([], now=SECOND)
    assert not alarms.is_said(STRANGER, "web9")


MISSING = Finding.of(Code.GROUP_MISSING, "there is no such group", cure="groupadd")


def test_what_nobody_else_tells_of_is_said_as_soon_as_it_is_settled() -> None:
    alarms = Alarms()
    assert alarms.hold([("", MISSING)], now=0) == []
    (raised,) = alarms.hold([("", MISSING)], now=2 * SECOND)
    assert raised.text == "there is no such group: groupadd"
    assert alarms.hold([("", MISSING)], now=3 * SECOND) == []
    (over,) = alarms.hold([], now=4 * SECOND)
    assert over.text == "over after 3 s: there is no such group"
    # What is over at once is not said.
    assert alarms.hold([("", MISSING)], now=5 * SECOND) == []
    assert alarms.hold([], now=6 * SECOND) == []


def left(alarms: Alarms) -> list[dict[str, Any]]:
    """Return what is handed over, as it is read."""
    plain: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(alarms.leave()))
    return plain


def test_a_successor_goes_on_with_what_is_so() -> None:
    before, after = Alarms(), Alarms()
    for second in range(3):
        before.happened(STARVED, now=second * SECOND)
    before.raised(STRANGER, "web9", now=0)
    before.hold([("web9", STRANGER), ("", MISSING)], now=5 * SECOND)
    after.restore(left(before), now=10 * SECOND)
    assert after.now(now=10 * SECOND) == before.now(now=10 * SECOND)
    # What is not found at once may be found still.
    assert after.hold([], now=12 * SECOND) == []
    assert after.hold([("web9", STRANGER)], now=20 * SECOND) == []
    assert [one.since_seconds for one in after.now(now=20 * SECOND)] == [20, 20, 15]
    # It was said, and is not again; what was not said, is not over.
    assert after.hold([("web9", STRANGER)], now=26 * SECOND) == []
    (over,) = after.hold([], now=27 * SECOND)
    assert over.text == "over after 26 s: web9 is not in the file"


def test_what_a_successor_does_not_find_is_over() -> None:
    """Also what has an end of its own, for who would say it does not know that it began."""
    before, after = Alarms(), Alarms()
    before.raised(SILENT, "web2", now=0)
    before.hold([("web2", SILENT)], now=SECOND)
    after.restore(left(before), now=2 * SECOND)
    assert after.hold([], now=16 * SECOND) == []
    (over,) = after.hold([], now=17 * SECOND)
    assert over.text == "over after 1 s: web2 is silent for 3 s"


def test_what_a_predecessor_left_that_cannot_be_read() -> None:
    before, after = Alarms(), Alarms()
    before.raised(SILENT, "web2", now=0)
    (plain,) = left(before)
    newer = {**plain, "finding": {**plain["finding"], "severity": "odd"}}
    after.restore([{}, newer, {**plain, "more": 1}], now=0)
    assert [one.about for one in after.now(now=0)] == ["web2"]


def test_no_more_is_left_than_there_is_room_for() -> None:
    before = Alarms()
    for number in range(200):
        name = f"web{number}\udcff"
        before.raised(Finding.of(Code.SILENT, name, "x" * 300, cure="see"), name, now=0)
    assert 10 < len(left(before)) < 30


def test_of_what_others_say_that_it_began_the_end_is_said() -> None:
    alarms = Alarms()
    found = Finding.of(Code.NOT_PINNED, "it is not pinned", cure="mount bpffs")
    assert alarms.hold([("eth0", found)], now=0) == []
    assert alarms.hold([("eth0", found)], now=9 * SECOND) == []
    (over,) = alarms.hold([], now=10 * SECOND)
    assert over.text == "over after 9 s: it is not pinned"


BY_HOLD = {
    *(Code.GROUP_MISSING, Code.STATUS_NOT_TOLD, Code.ALONE, Code.VOTERS_NOT_IN_USE),
    *(Code.RENAMED, Code.KEY_MISSING),
}
"""Whose beginning the alarms say, for nobody else does."""
BY_ITS_OWN = {
    # An event of another kind tells it.
    *(Code.SILENT, Code.STOPPED, Code.REFUSED),  # PeerSilent
    *(Code.INTERFACE_DOWN, Code.NO_CARRIER, Code.INTERFACE_GONE, Code.INTERFACE_MISSING),
    *(Code.UNHEALTHY, Code.NOT_IN_CONTROL, Code.CONNECTIONS_CUT),
    # Who finds it says it, once for a while.
    *(Code.DEAF, Code.HEARS_NOBODY, Code.NOT_REACHED, Code.NO_MAJORITY, Code.STRANGER),
    *(Code.STRAY_DATAGRAMS, Code.DOUBLE, Code.SECOND_DAEMON, Code.HEARD_IN_ITS_PLACE),
    *(Code.OTHER_CONFIGURATION, Code.TWO_OWNERS, Code.STOOD_STILL, Code.STARVED, Code.NO_SOURCE),
    *(Code.ADDRESS_NOT_HERE, Code.ADDRESS_OF_ANOTHER, Code.NOT_GUARDED, Code.NOT_PINNED),
    *(Code.VOTERS_DIFFER, Code.SERVES_NOTHING),
    # Advice, when a daemon begins.
    *(Code.KEY_FILE_OPEN, Code.KEY_FILE_REPLACEABLE, Code.UNREACHABLE, Code.NO_MAJORITY_OF_TWO),
    *(Code.BOTH_ALONE, Code.ALIVE_OF_MANY, Code.EVEN_VOTERS, Code.NO_WEIGHT, Code.ONE_SERVER),
    *(Code.SMALL_SHARE, Code.MAC_OF_OTHERS, Code.MAC_SNOOPED, Code.EMPTY_SERVICE),
    *(Code.FAST_ALONE, Code.FAST_OF_MANY, Code.LONG_DRAIN, Code.LOOPBACK_ADDRESS, Code.NO_CHECK),
}
BY_NO_DAEMON = {
    # It does not start with it, or does not go by it: the error says so.
    *(Code.NO_NODE, Code.CLOCK_ELSEWHERE, Code.LIBRARY_MISSING, Code.CAPABILITY_MISSING),
    *(Code.KERNEL_REFUSES, Code.PORT_IN_USE, Code.OTHER_VOTERS, Code.NO_SPACE, Code.CHECK_PROGRAM),
    *(Code.SYSTEM_REFUSED, Code.INTERFACE_UNFIT, Code.INTERFACE_TAKEN),
    *(Code.VIP_ALREADY_THERE, Code.VIP_OF_NETWORK, Code.VIP_IN_FILES, Code.VIP_ELSEWHERE),
    # Commands look for it.
    *(Code.NOT_FILTERED, Code.PINS_ELSEWHERE, Code.VIP_NOT_HERE, Code.VIP_LEFT, Code.ONLY_VIPS),
    *(Code.NO_ANSWER, Code.FILE_NOT_IN_USE),
}


def test_each_code_has_somebody_who_says_it_in_the_journal() -> None:
    """A new one is to be put where it belongs; none is in two places."""
    groups = BY_HOLD, BY_ITS_OWN, BY_NO_DAEMON
    assert set().union(*groups) == set(Code)
    assert sum(map(len, groups)) == len(Code)


@pytest.mark.parametrize("code", sorted(Code))
def test_what_nobody_else_says_is_said(code: Code) -> None:
    alarms, found = Alarms(), Finding.of(code, "so it is", cure="do this")
    said = [one for at in range(4) for one in alarms.hold([("", found)], now=at * SECOND)]
    assert len(said) == (code in BY_HOLD)
    over = alarms.hold([], now=5 * SECOND)
    assert len(over) == (code in BY_HOLD or code is Code.NOT_PINNED)


def test_one_reason_of_silence_becomes_another() -> None:
    """After a planned restart the reason is found anew: it is not over meanwhile."""
    alarms = Alarms()
    refused = Finding.of(Code.REFUSED, "web2 is refused", cure="copy the key")
    alarms.note_said(refused, "web2", now=0)
    next_one = Alarms()
    next_one.restore(alarms.leave(), now=SECOND)
    assert next_one.silent_since("web2") == 0
    assert next_one.hold([("web2", SILENT)], now=30 * SECOND) == []
    next_one.heard("web2")
    assert next_one.silent_since("web2") is None
