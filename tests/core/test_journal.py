"""The journal: numbers, bounds, what is only counted, and what is handed over."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterip.core import journal
from clusterip.core.events import (
    KINDS,
    BucketsTaken,
    Commanded,
    ConfigChanged,
    Event,
    HealthChanged,
    Level,
    Noted,
    PeerBack,
    PeerSilent,
    Unknown,
    read,
)
from clusterip.core.findings import Code, Finding
from clusterip.core.journal import ROOM, Entry, Journal, Stamp
from clusterip.core.units import SECOND

FOUND = Finding.of(Code.STARVED, "starved", "it ran late", cure="free the processor")
SAMPLES: dict[type, Any] = {
    str: "web2",
    bool: True,
    int: 3,
    float: 1.5,
    list[int]: [1, 2, 4],
    list[str]: ["a", "b"],
    Finding: FOUND,
    Level: Level.WARNING,
}


def at(seconds: float) -> Stamp:
    return Stamp(1000.0 + seconds, round(seconds * SECOND))


def sample(kind: type[Event]) -> Event:
    """Return an event of a kind, with all that it may have."""
    values = {}
    for field in msgspec.structs.fields(kind):
        options = getattr(field.type, "__args__", ()) if "|" in str(field.type) else ()
        wanted = next((one for one in options if one is not type(None)), field.type)
        values[field.name] = SAMPLES[wanted]
    return kind(**values)


EVENTS = [sample(kind) for kind in KINDS]


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: one.kind)
def test_each_kind(event: Event) -> None:
    assert event.text
    assert "\n" not in event.text
    assert str(event) == event.text
    one = Journal("a")
    (entry,) = one.record(event, at=at(1))
    assert (entry.seq, entry.kind, entry.text) == (1, event.kind, event.text)
    assert entry.level == event.level.value
    again = journal.decode(journal.encode(entry))
    assert again == entry
    assert again.typed() == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda one: one.kind)
@given(st.dictionaries(st.text(min_size=1), st.none() | st.integers() | st.text()))
def test_what_a_newer_one_says_beside_it_is_left_alone(event: Event, more: dict[str, Any]) -> None:
    said = msgspec.to_builtins(event)
    assert read({**more, **said}) == event


@given(
    st.text().filter(lambda kind: kind not in {one.__struct_config__.tag for one in KINDS}),
    st.dictionaries(st.text().filter(lambda key: key != "kind"), st.none() | st.text()),
)
def test_a_kind_of_a_newer_one_is_kept_whole(kind: str, fields: dict[str, Any]) -> None:
    assert read({"kind": kind, **fields}) == Unknown(kind=kind, fields=fields)


def test_a_kind_that_became_another_thing_is_unknown() -> None:
    said = {"kind": "buckets-taken", "buckets": "all", "cause": "as planned"}
    found = read(said)
    assert found == Unknown(kind="buckets-taken", fields={"buckets": "all", "cause": "as planned"})
    with pytest.raises(ValueError, match="an event has a kind"):
        read({"buckets": [1]})


@settings(max_examples=20)
@given(st.integers(0, 3 * ROOM))
def test_the_newest_are_kept(count: int) -> None:
    one = Journal("a")
    for number in range(count):
        one.record(BucketsTaken(buckets=[1 + number % 256], cause="as planned"), at=at(number))
    assert one.last == count
    kept = [entry.seq for entry in one.entries]
    assert kept == list(range(max(0, count - ROOM) + 1, count + 1))
    assert [entry.seq for entry in one.after(count - 3)] == kept[-3:] if count > 3 else True


SAYING = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(EVENTS)), max_size=60)


@given(SAYING)
def test_nothing_is_lost_and_nothing_is_said_without_end(said: list[tuple[int, Event]]) -> None:
    """What was recorded was said, or is counted in one that is."""
    one, now, told = Journal("a"), 0, list[Entry]()
    for pause, event in said:
        now += pause
        told += one.record(event, at=at(now))
    told += one.end(at=at(now))
    assert [entry.seq for entry in told] == list(range(1, len(told) + 1))
    repeated = [entry.event for entry in told if entry.kind == "repeated"]
    ours = sum(event.kind == "repeated" for _, event in said)
    counted = sum(entry["count"] for entry in repeated) - 3 * ours
    assert len(told) - (len(repeated) - ours) + counted == len(said)


def test_what_goes_on_is_counted() -> None:
    one = Journal("a")
    words = Noted(what="commands have to wait", matters=Level.WARNING)
    told = [entry for second in range(100) for entry in one.record(words, at=at(second))]
    assert [entry.text for entry in told] == [words.what] * words.burst
    assert one.look(at=at(100)) == []
    (over,) = one.look(at=at(200))
    assert over.text == "97 times more in 96 s: commands have to wait"
    assert over.level == "warning"
    # From then on it is news again.
    assert len(one.record(words, at=at(201))) == 1


def test_of_what_flaps_the_last_line_is_how_it_is() -> None:
    one = Journal("a")
    told = []
    for second in range(40):
        event = HealthChanged(healthy=bool(second % 2), cause="web: down")
        told += one.record(event, at=at(second))
    assert len(told) == HealthChanged.burst
    over, last = one.look(at=at(90))
    assert over.text == "29 times more in 29 s: healthy (web: down)"
    assert last.typed() == HealthChanged(healthy=True, cause="web: down")


def test_a_death_after_flaps_is_said_itself() -> None:
    """For who waits for just that event, with what it has."""
    one = Journal("a")
    for second in range(12):
        one.record(PeerBack(node="web2", seconds=1.0), at=at(second))
    death = PeerSilent(node="web2", finding=FOUND, buckets=[3, 4])
    assert one.record(death, at=at(12)) == []
    (said,) = one.look(at=at(42))
    assert said.typed() == death


def test_a_file_that_is_read_again_and_again_is_not_said_without_end() -> None:
    one = Journal("a")
    for second in range(100):
        one.record(ConfigChanged(changes=[], told="no change"), at=at(second))
    assert one.last == ConfigChanged.burst
    assert one.record(ConfigChanged(changes=["x"], told="x"), at=at(100)) != []


def test_a_command_is_said_however_often_another_was_given() -> None:
    one = Journal("a")
    for second in range(100):
        one.record(Commanded(what=f"weight {second}"), at=at(second))
    said = one.record(Commanded(what="drain"), at=at(100))
    assert [entry.text for entry in said] == ["this node was asked: drain"]


def test_topics_are_bounded() -> None:
    one = Journal("a")
    for number in range(5000):
        one.record(Noted(what=f"line {number}"), at=at(0))
    assert len(one.end(at=at(1))) == 0


KEPT = st.lists(st.sampled_from(EVENTS), max_size=40)


@given(KEPT, KEPT)
def test_it_goes_on_over_a_restart(before: list[Event], after: list[Event]) -> None:
    one, other = Journal("a"), Journal("b")
    for event in before:
        one.record(event, at=at(1))
    one.end(at=at(2))
    # Said before the other knew that it goes on.
    other.record(EVENTS[0], at=at(3))
    kept = journal.load(one.keep(1 << 19, "boot"), "boot")
    assert kept is not None
    other.restore(kept)
    assert other.name == "a"
    for event in after:
        other.record(event, at=at(4))
    numbers = [entry.seq for entry in other.entries]
    assert numbers == list(range(1, len(numbers) + 1))
    assert list(other.entries)[: len(one.entries)] == list(one.entries)


def test_what_a_newer_one_handed_over() -> None:
    one = Journal("a")
    one.record(EVENTS[0], at=at(1))
    kept = msgspec.json.decode(one.keep(1 << 19, "boot"))
    kept["entries"][0]["event"] = {"kind": "rain", "mm": 3}
    kept["entries"][0]["mood"] = "fair"
    kept["colour"] = "blue"
    loaded = journal.load(msgspec.json.encode(kept), "boot")
    assert loaded is not None
    other = Journal("b")
    other.restore(loaded)
    (entry,) = other.entries
    assert entry.typed() == Unknown(kind="rain", fields={"mm": 3})
    again = journal.load(other.keep(1 << 19, "boot"), "boot")
    assert again is not None
    assert again.entries[0].event == {"kind": "rain", "mm": 3}


def test_the_hand_over_has_bounds() -> None:
    one = Journal("a")
    for _ in range(ROOM):
        one.record(BucketsTaken(buckets=list(range(1, 257)), cause="x" * 5000), at=at(1))
    for room in (1 << 19, 1 << 12):
        raw = one.keep(room, "boot")
        assert len(raw) <= room
        kept = journal.load(raw, "boot")
        assert kept is not None
        assert kept.last == ROOM
        assert kept.entries[-1:] == list(one.entries)[-1:] or room < 1 << 13
        assert (kept.lost, kept.entries) == (
            ROOM - len(kept.entries),
            list(one.entries)[kept.lost :],
        )
        # No more is left out than has to be.
        more = len(journal.encode(one.entries[kept.lost - 1]))
        assert len(raw) + more + 2 > room
    assert one.keep(3, "boot") == b""


@given(st.binary())
def test_damage_is_no_journal(raw: bytes) -> None:
    assert journal.load(raw, "boot") is None


def test_of_another_boot() -> None:
    one = Journal("a")
    assert journal.load(one.keep(1 << 19, "boot"), "another") is None
    with pytest.raises(ValueError, match="missing required"):
        journal.decode(b"{}")


def test_bytes_that_are_no_characters_are_told() -> None:
    """A file may be named so, and JSON has no place for them."""
    (entry,) = Journal("a").record(Noted(what="no file caf\udce9"), at=at(0))
    assert entry.text == "no file caf\\xe9"
    assert entry.event["what"] == "no file caf\\xe9"
    assert journal.decode(journal.encode(entry)) == entry
