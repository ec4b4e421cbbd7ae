"""kill -9 in the middle of a change, then the same command again.

After each kill the rules are the old or the new ones, never a mixture, and the same command, or
`flush`, finds all that was left. All the while a client pings: whatever moment the host was caught
in, nothing is answered twice, and the buckets of the other hosts notice nothing.

A step takes a second or two, so a selection is tried; CLUSTERIP_KILL_EVERYWHERE=1 tries them all.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
from typing import TYPE_CHECKING

import pytest

from lab.capture import answering_hosts, capturing
from lab.topology import VIP, Host, Lab
from tests.lan.cluster import Sharing, append
from tests.lan.killed import Step, changing_steps, kill_at
from tests.lan.traces import Traces, traces

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARING = Sharing("sourceip")
PING = ("-p", "icmp")
WEB = ("-p", "tcp", "--dport", "80")
FOUNDING = [*SHARING.new(1), "--manage-address"]
FOUNDING_PING = [*SHARING.new(1, *PING), "--manage-address"]
JOINING = SHARING.join(*WEB)
OTHER_VIP = [*Sharing(vip="10.9.0.101", mac="01:00:5e:00:00:21").new(1), "--manage-address"]

# Name: the rules before, and the one that is added and removed again.
RULES = {
    "the only rule": ([], FOUNDING),
    "a second rule": ([FOUNDING_PING], JOINING),
    "a second VIP": ([FOUNDING], OTHER_VIP),
}


@pytest.fixture
def host(lan: Lab) -> Host:
    """The host that is to change; the others share the VIP and have buckets 2 and 3."""
    for other in lan.hosts[1:]:
        append(other, *SHARING.new(other.number))
        other.add_address(VIP)
    return lan.hosts[0]


@contextlib.contextmanager
def nothing_answered_twice(lan: Lab) -> Iterator[None]:
    """Ping all the while, for every bucket from two addresses, and look at all the answers."""
    sources: dict[int, list[str]] = {1: [], 2: [], 3: []}
    for address in lan.client.addresses:
        sources[SHARING.bucket_of(address)].append(address)
    chosen = [address for some in sources.values() for address in some[:2]]
    with capturing(lan.client, "icmp") as capture:
        pings = [
            lan.client.start("ping", "-q", "-i", "0.01", "-I", source, VIP) for source in chosen
        ]
        yield
        for ping in pings:
            ping.stop(signal.SIGINT)
    answers = answering_hosts(lan, capture, VIP)
    predicted = SHARING.predicted(answers)
    assert len(answers) > 100
    for request, hosts in answers.items():
        if SHARING.bucket(request) == 1:
            assert hosts in ([], ["h1"]), request
        else:
            assert hosts == predicted[request], request


def selected(steps: list[Step], count: int) -> list[Step]:
    """Return `count` of the steps at most, at even distances, the last one included."""
    assert steps
    if "CLUSTERIP_KILL_EVERYWHERE" in os.environ:
        return steps
    return steps[:: -math.ceil(len(steps) / count)]


def rules(host: Host) -> str:
    return host.clusterip("iptables", "-S").stdout


def state(host: Host) -> tuple[str, Traces]:
    return rules(host), traces(host)


@pytest.mark.parametrize("name", RULES)
def test_the_same_command_again(lan: Lab, host: Host, name: str) -> None:
    before, rule = RULES[name]
    add, remove = ["iptables", "-A", *rule], ["iptables", "-D", *rule]
    pristine = traces(host)
    for one in before:
        append(host, *one)
    old = state(host)
    steps_to_add = selected(changing_steps(host, add), 3)
    new = state(host)
    assert old[0] != new[0]
    steps_to_remove = selected(changing_steps(host, remove), 3)
    assert state(host) == old
    with nothing_answered_twice(lan):
        for adding, removing in itertools.zip_longest(steps_to_add, steps_to_remove):
            kill_at(host, add, adding or steps_to_add[-1])
            assert rules(host) in (old[0], new[0]), adding
            host.clusterip(*add)
            assert state(host) == new, adding

            kill_at(host, remove, removing or steps_to_remove[-1])
            caught_in = rules(host)
            assert caught_in in (old[0], new[0]), removing
            again = host.clusterip(*remove, check=False)
            # What is deleted already cannot be deleted: that is said, and yet it is completed.
            assert again.returncode == 0 or caught_in == old[0], removing
            assert state(host) == old, removing
    host.clusterip("flush")
    assert traces(host) == pristine


def test_flush_finds_all_that_was_left(host: Host) -> None:
    add, remove = ["iptables", "-A", *FOUNDING], ["iptables", "-D", *FOUNDING]
    pristine = traces(host)
    steps_to_add, steps_to_remove = changing_steps(host, add), changing_steps(host, remove)
    for step in selected(steps_to_add, 3):
        kill_at(host, add, step)
        host.clusterip("flush")
        assert traces(host) == pristine, step
    for step in selected(steps_to_remove, 3):
        append(host, *FOUNDING)
        kill_at(host, remove, step)
        host.clusterip("flush")
        assert traces(host) == pristine, step


def test_a_bucket_moves_in_no_step_at_all(lan: Lab, host: Host) -> None:
    append(host, *FOUNDING)
    move = ["bucket", VIP, "+3"]
    lan.hosts[2].clusterip("bucket", VIP, "-3")
    # A bucket is one byte in memory: there is no moment in between.
    assert changing_steps(host, move) == []
    (interface,) = host.show()["interfaces"]
    assert interface["vips"][0]["held"] == [1, 3]
