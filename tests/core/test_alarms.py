"""What is wrong now: since when, how often, and when it is over."""

from __future__ import annotations

from clusterip.core.alarms import Alarms
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
