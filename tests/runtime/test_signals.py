"""Signals in every moment of a daemon's life: it serves on, or it stops and leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from clusterip.adapters import control, runfiles
from clusterip.core.errors import SystemFaultError
from clusterip.core.messages.request import Show
from tests.runtime.places import Daemon, Place
from tests.served import until

pytestmark = pytest.mark.root("BPF and namespaces")

ROUNDS = int(os.environ.get("SIGNAL_ROUNDS", "20"))
SEED = int(os.environ.get("SIGNAL_SEED", "1"))
HARMLESS = (
    *(signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGPROF),
    signal.SIGPIPE,
)
ENDS = (signal.SIGTERM, signal.SIGINT)


def serving_incarnation(place: Place) -> str:
    """Return which incarnation holds all; "" if none does, or it hands over just now."""
    try:
        seen = place.show()
    except SystemFaultError:
        return ""
    return str(seen["boot"]) if seen["held"] == [1, 2, 3, 4] else ""


def answers(place: Place) -> bool:
    return bool(serving_incarnation(place))


def test_many_at_random_moments_of_a_restart(place: Place) -> None:
    chance = random.Random(SEED)
    before = place.traces()
    daemon = place.serving()
    incarnation = place.show()["boot"]
    for number in range(ROUNDS):
        daemon.tell(signal.SIGUSR2)
        ends = number % 3 == 2
        for _ in range(chance.randint(1, 4)):
            time.sleep(chance.uniform(0, 0.4))
            daemon.tell(chance.choice(HARMLESS))
        if ends:
            time.sleep(chance.uniform(0, 0.2))
            daemon.tell(chance.choice(ENDS))
            assert daemon.ended() == 0, daemon.said
            assert place.traces() == before
            assert runfiles.running() == ()
            daemon = again(place)
            incarnation = place.show()["boot"]
        else:
            until(lambda: serving_incarnation(place) == incarnation)  # noqa: B023 - called here
            assert daemon.process.poll() is None
        assert "Traceback" not in daemon.said
    assert daemon.stop() == 0
    assert place.traces() == before


def again(place: Place) -> Daemon:
    daemon = place.start()
    until(lambda: answers(place))
    return daemon


def test_twice_at_once_and_a_stop_behind_them(place: Place) -> None:
    before = place.traces()
    daemon = place.serving()
    daemon.tell(signal.SIGUSR2)
    daemon.tell(signal.SIGUSR2)
    daemon.await_line("handing over to a successor")
    # It is no daemon yet, or none any more.
    daemon.tell(signal.SIGUSR2)
    daemon.tell(signal.SIGTERM)
    assert daemon.ended() == 0
    assert place.traces() == before
    assert daemon.said.count("taking over from the daemon before") >= 1


def test_while_it_begins(place: Place) -> None:
    """From when something of it is there, a stop takes all away."""
    before = place.traces()
    for number in (*ENDS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        daemon = place.start()
        until(lambda: runfiles.running() == ("web",))
        daemon.tell(number)
        if number not in ENDS:
            until(lambda: _asked(place))
            daemon.tell(signal.SIGTERM)
        assert daemon.ended() == 0, daemon.said
        assert place.traces() == before


def _asked(place: Place) -> bool:
    try:
        control.ask("web", Show())
    except SystemFaultError:
        return False
    return bool(place)


def test_what_a_check_starts_is_not_deaf(place: Place) -> None:
    """The program of a check has none of these signals blocked."""
    check = (
        '[[check]]\nname = "mask"\ntype = "command"\n'
        'command = ["/bin/grep", "SigBlk", "/proc/self/status"]\n\n[[node]]'
    )
    place.change("[[node]]", check)
    place.serving()
    until(lambda: place.show()["checks"][0]["good"] is True)
    assert place.show()["checks"][0]["detail"] == "SigBlk:\\t" + "0" * 16


def test_ignored_and_blocked_by_who_started_it(place: Place) -> None:
    """As nohup and a script's background jobs do, with some: a daemon obeys all the same."""
    check = (
        '[[check]]\nname = "end"\ntype = "command"\n'
        'command = ["/bin/sh", "-c", "exit 3"]\n\n[[node]]'
    )
    place.change("[[node]]", check)
    place.before = ("env", "--ignore-signal", "--block-signal")
    before = place.traces()
    daemon = place.serving()
    # How a program ended is told to whoever does not ignore SIGCHLD.
    until(lambda: place.show()["checks"][0]["good"] is False)
    assert place.show()["checks"][0]["detail"] == "exit status 3"
    daemon.tell(signal.SIGHUP)
    daemon.await_line("reloaded: ")
    daemon.tell(signal.SIGUSR2)
    daemon.await_line("taking over from the daemon before")
    until(lambda: answers(place))
    daemon.tell(signal.SIGINT)
    assert daemon.ended() == 0
    assert place.traces() == before
