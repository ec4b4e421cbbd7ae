"""Following a journal over connections: nothing twice, nothing left out, on to the next daemon."""

from __future__ import annotations

from typing import Any

import pytest

from clusterip.core.errors import UsageError
from clusterip.core.journal import Entry
from clusterip.core.messages import feed
from clusterip.core.messages.feed import Bye, Hello, Listen, Now
from clusterip.core.messages.following import Following


def hello(journal: str = "a") -> Hello:
    return Hello(cluster="web", node="web1", pid=1, journal=journal)


def entry(seq: int) -> Entry:
    return Entry(seq=seq, time=0.0, clock=0, level="info", text="", event={"kind": "noted"})


def told(seq: int) -> feed.Entry:
    return feed.Entry(entry=entry(seq))


def test_all_that_there_is() -> None:
    one = Following(follow=False)
    assert one.position == ""
    assert one.listen(hello()) == Listen(after=0, journal="a")
    assert [one.take(told(seq)) for seq in (1, 2)] == [entry(1), entry(2)]
    assert (one.over, one.position) == (False, "a:2")
    assert one.take(Now(seq=2, journal="a")) is None
    assert (one.over, one.goes_on) == (True, False)


def test_it_goes_on_where_another_one_was() -> None:
    one = Following("a:7", follow=True)
    assert one.listen(hello()) == Listen(after=7, journal="a", follow=True)
    assert one.take(told(7)) is None
    assert one.take(told(8)) == entry(8)
    one.take(Now(seq=8, journal="a"))
    assert not one.over


def test_a_journal_that_was_lost_is_read_from_its_beginning() -> None:
    one = Following("a:7", follow=True)
    assert one.listen(hello("b")) == Listen(after=0, journal="b", follow=True)
    assert one.take(told(1)) == entry(1)
    assert one.position == "b:1"


@pytest.mark.parametrize(("why", "goes_on"), [("restart", True), ("stop", False), ("fault", False)])
def test_the_daemon_ends(why: str, goes_on: bool) -> None:
    one = Following(last=5, follow=True)
    assert one.listen(hello()).last == 5
    one.take(told(9))
    one.take(Now(seq=9, journal="a"))
    one.take(Bye(why=why))
    assert (one.over, one.goes_on, one.failed) == (True, goes_on, why == "fault")
    # From the next one all that comes is wanted, and once.
    assert one.listen(hello()) == Listen(after=9, journal="a", follow=True)
    assert not one.over
    assert one.take(told(9)) is None
    assert one.take(told(10)) == entry(10)


def test_of_nothing_new_no_more_than_the_position_is_known() -> None:
    one = Following(last=0, follow=True)
    one.listen(hello())
    one.take(Now(seq=40, journal="a"))
    assert one.position == "a:40"


def test_without_following_a_restart_before_the_end_is_none() -> None:
    one = Following(follow=False)
    one.listen(hello())
    one.take(Bye(why="restart"))
    assert (one.over, one.goes_on) == (True, True)


def test_what_ends_without_a_word_goes_on_where_it_was() -> None:
    one = Following(last=5, follow=True)
    one.listen(hello())
    one.lost()
    assert (one.over, one.goes_on) == (True, True)
    # Nothing came yet.
    assert one.listen(hello()) == Listen(after=0, journal="a", last=5, follow=True)
    one.take(told(7))
    one.lost()
    # Five newer ones may have come meanwhile.
    assert one.listen(hello()) == Listen(after=7, journal="a", follow=True)
    assert one.take(told(7)) is None


def test_after_a_number_in_whatever_journal() -> None:
    one = Following(follow=True, since=7)
    assert one.listen(hello("b")) == Listen(after=7, journal="b", follow=True)
    assert one.listen(hello("c")) == Listen(after=0, journal="c", follow=True)


@pytest.mark.parametrize("position", ["a", "a:", ":7", "a:x", "a:-1", "a:\u0661"])
def test_what_is_no_position(position: str) -> None:
    with pytest.raises(UsageError, match="is no position in a journal"):
        Following(position, follow=True)


@pytest.mark.parametrize("given", [{"position": "a:9"}, {"since": 9}])
@pytest.mark.parametrize("follow", [False, True])
def test_beyond_the_end(given: dict[str, Any], follow: bool) -> None:
    following = Following(**given, follow=follow)
    following.listen(Hello(cluster="web", node="web1", pid=1, journal="a"))
    with pytest.raises(UsageError, match="the journal has no event 9: its newest is 4"):
        following.take(Now(seq=4, journal="a"))
    # Of a journal that was lost it is no number: this one is wanted from its beginning.
    following = Following("b:9", follow=follow)
    following.listen(Hello(cluster="web", node="web1", pid=1, journal="a"))
    assert following.take(Now(seq=4, journal="a")) is None
    assert following.position == "a:4"


def test_a_number_without_end_is_no_position() -> None:
    with pytest.raises(UsageError, match="is no position in a journal"):
        Following("a:" + "9" * 5000, follow=False)
