"""How often VIPs are announced, and when it begins anew."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

import pytest

from clusterip.adapters.announcer import FakeAnnouncer
from clusterip.core.config.reading import read
from clusterip.core.config.state import interface_state
from clusterip.core.units import MILLISECOND
from clusterip.runtime.announcing import Announcing
from tests.core.config.texts import SMALL, config_with

WEB = interface_state(read(SMALL), 2, "eth0")
TWO = interface_state(config_with(rest='[[vip]]\naddress = "2001:db8::1"'), 2, "eth0")
VIPS = [group.vip for group in TWO.groups]


def announcing(announcer: FakeAnnouncer, count: int = 3) -> Announcing:
    one = Announcing(announcer, TWO, count=count, interval=2 * MILLISECOND)
    one.look(serving=True)
    return one


def run(one: Announcing, done: Callable[[], bool]) -> None:
    async def until() -> None:
        task = asyncio.ensure_future(one.run())
        async with asyncio.timeout(10):
            while not done():  # noqa: ASYNC110 - of the task
                await asyncio.sleep(0.001)
        # What would come too much has its time to come.
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(until())


def test_each_vip_so_often() -> None:
    announcer = FakeAnnouncer()
    one = announcing(announcer)
    run(one, lambda: len(announcer.sent) >= 6)
    assert [vip for _, vip, _ in announcer.sent] == VIPS * 3
    assert {(index, mac) for index, _, mac in announcer.sent} == {
        (2, group.sharing.mac) for group in TWO.groups
    }


def test_not_if_the_file_says_so_or_nothing_is_served() -> None:
    announcer = FakeAnnouncer()
    run(announcing(announcer, count=0), lambda: True)
    witness = Announcing(announcer, None, count=3, interval=2 * MILLISECOND)
    witness.look(serving=True)
    run(witness, lambda: True)
    assert announcer.sent == []


def test_not_before_it_serves_nor_after_it_did() -> None:
    announcer = FakeAnnouncer()
    one = announcing(announcer)
    one.look(serving=False)
    run(one, lambda: len(announcer.reported) >= 6)
    assert announcer.reported == [(2, group.sharing.mac) for group in TWO.groups] * 3
    assert announcer.sent == []
    ends = announcing(announcer)
    ends.interval *= 1000

    def stops() -> bool:
        if announcer.sent:
            ends.look(serving=False)
            ends.begin()  # its link came
        return bool(announcer.sent)

    run(ends, stops)
    assert len(announcer.sent) == 1
    assert len(announcer.reported) == 7


def test_again_when_it_begins_to_serve() -> None:
    announcer = FakeAnnouncer()
    one = announcing(announcer, count=1)

    def begins_again() -> bool:
        one.look(serving=True)  # as before
        if len(announcer.sent) == 2:
            one.look(serving=False)
            one.look(serving=True)
        return len(announcer.sent) >= 4

    run(one, begins_again)
    assert [vip for _, vip, _ in announcer.sent] == VIPS * 2


def test_asked_meanwhile_it_begins_anew() -> None:
    announcer = FakeAnnouncer()
    one = announcing(announcer)
    one.interval *= 100

    def asked() -> bool:
        if len(announcer.sent) == 2:
            one.interval = 2 * MILLISECOND
            one.begin()
        return len(announcer.sent) >= 8

    run(one, asked)
    assert [vip for _, vip, _ in announcer.sent] == VIPS * 4


def test_what_cannot_be_sent_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    announcer = FakeAnnouncer(error=OSError(errno.ENETDOWN, "Network is down"))
    one = announcing(announcer)
    with caplog.at_level(logging.WARNING, "clusterip"):
        run(one, lambda: bool(caplog.messages))
    (told,) = caplog.messages
    assert "cannot be announced: [Errno 100] Network is down" in told
    assert WEB.groups[0].vip == VIPS[0]


def test_what_our_own_filter_discards_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    announcer, asked = FakeAnnouncer(error=OSError(errno.ENOBUFS, "No buffer space")), []

    def is_over() -> bool:
        asked.append(True)
        return len(asked) <= 2

    one = Announcing(announcer, TWO, count=3, interval=2 * MILLISECOND, is_over=is_over)
    one.look(serving=True)
    with caplog.at_level(logging.WARNING, "clusterip"):
        run(one, lambda: bool(caplog.messages))
    assert len(asked) == 3
