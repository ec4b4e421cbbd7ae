"""What is not planned: a host dies, hangs, is cut off, hears or is heard badly, and comes back.

Its buckets are served again within a second, counted from its last answer; nobody else's
connections break; and when it is back every bucket is held once, shares are fair, and the return
broke nothing.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from clusterip.core.lease.timing import SERVE_WITHIN
from clusterip.core.units import SECOND
from lab.wait import eventually
from tests.lan.clusters import UNNOTICED, Site, in_time, patiently, say, site, watching
from tests.lan.drops import dropping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from lab.namespace import Namespace
    from lab.topology import Host

PORT = 5407
LIMIT = SERVE_WITHIN["default"] / SECOND


@pytest.fixture(scope="module")
def web() -> Iterator[Site]:
    with site() as made:
        yield made


@contextlib.contextmanager
def killed(web: Site, host: Host) -> Iterator[None]:
    web.cluster.kill(host)
    yield
    web.cluster.start(host)


@contextlib.contextmanager
def paused(web: Site, host: Host) -> Iterator[None]:
    web.cluster.pause(host)
    yield
    web.cluster.resume(host)


@contextlib.contextmanager
def link_down(web: Site, host: Host) -> Iterator[None]:
    host.run("ip", "link", "set", "eth0", "down")
    yield
    host.run("ip", "link", "set", "eth0", "up")


@contextlib.contextmanager
def port_down(web: Site, host: Host) -> Iterator[None]:
    web.lan.switch.run("ip", "link", "set", host.name, "down")
    yield
    web.lan.switch.run("ip", "link", "set", host.name, "up")


def messages_lost(switch: Namespace, *which: str) -> AbstractContextManager[None]:
    """Have the switch lose the daemons' messages that match any of `which`."""
    return dropping(switch, "bridge", "forward", *(f"{one} udp dport {PORT}" for one in which))


@contextlib.contextmanager
def cut_off(web: Site, host: Host) -> Iterator[None]:
    with messages_lost(web.lan.switch, f"iifname {host.name}", f"oifname {host.name}"):
        yield


@contextlib.contextmanager
def unheard(web: Site, host: Host) -> Iterator[None]:
    with messages_lost(web.lan.switch, f"iifname {host.name}"):
        yield


@contextlib.contextmanager
def deaf(web: Site, host: Host) -> Iterator[None]:
    with messages_lost(web.lan.switch, f"oifname {host.name}"):
        yield


class Trouble(Protocol):
    """What a host gets into, for as long as the context lasts."""

    __name__: str

    def __call__(self, web: Site, host: Host) -> contextlib.AbstractContextManager[None]: ...


@pytest.mark.parametrize(
    ("trouble", "number"),
    [
        (killed, 1),
        (paused, 2),
        (link_down, 3),
        (port_down, 1),
        (cut_off, 2),
        (unheard, 3),
        (deaf, 1),
    ],
    ids=lambda value: getattr(value, "__name__", f"h{value}"),
)
def test_served_again_and_back(web: Site, trouble: Trouble, number: int) -> None:
    patiently(web, lambda: in_trouble_and_back(web, trouble, web.lan.hosts[number - 1]))


def in_trouble_and_back(web: Site, trouble: Trouble, host: Host) -> None:
    what = trouble.__name__
    others = web.others(host)
    held = web.cluster.settled()
    with contextlib.ExitStack() as lasting:
        with watching(web) as watch:
            assert watch.at[host.name] > 0
            lasting.enter_context(trouble(web, host))
            now = web.cluster.settled(others)
        seen = watch.seen
        for one in others:  # a death moves no more than what the dead one had
            assert set(held[one.name]) <= set(now[one.name])
        seen.only_broke(host)
        assert seen.syns.failed == []
        silences = seen.silences(host)
        assert sorted(silences) == held[host.name]
        with watching(web) as watch:
            lasting.close()
            web.cluster.settled()
        back = watch.seen
        back.nothing_broke()
        assert host.name in back.gaps.owners.values()
    in_time(f"{what}: longest gap", max(silences.values()), LIMIT)
    in_time(f"{what}: longest gap of others' buckets", seen.longest_without(host), UNNOTICED)
    in_time(f"{what}: longest gap when it was back", back.gaps.longest, UNNOTICED)
    say(f"measured: {what}: shortest gap {min(silences.values()):.3f} s")


def test_thirty_percent_of_all_messages_lost(web: Site) -> None:
    """The lease outlasts seven messages: hardly ever are all of these lost."""

    def scenario() -> None:
        web.cluster.settled()
        with messages_lost(web.lan.switch, "numgen random mod 100 < 30"):
            with watching(web) as watch:
                time.sleep(6)
            eventually(
                lambda: sum(map(len, web.cluster.held().values())) > 0, what="somebody to hold"
            )
        web.cluster.settled()
        seen = watch.seen
        broken = len(seen.load.broken)
        say(f"measured: 30 % lost: {broken} connections broke")
        in_time("30 % lost: longest gap", seen.gaps.longest, LIMIT)
        in_time("30 % lost: connections broken", broken, 0)

    patiently(web, scenario)
