"""Hosts of several releases: they speak what all can read, and lose no lease as that changes."""

from __future__ import annotations

import pytest

from clusterip.core.lease.node import Node
from clusterip.core.messages.message import Message
from clusterip.core.messages.versions import Versions
from clusterip.core.messages.wire import Codec, UnreadableError
from clusterip.core.units import SECOND
from tests.core.lease.lan import MS, Lan, borne, node

OLD, BOTH, NEW = Versions(1, 1), Versions(1, 2), Versions(2, 2)
KEYS = {1: bytes(16)}


class Wired(Lan):
    """Nodes whose messages go as datagrams, in the version that each speaks."""

    def deliver(self, message: Message, one: Node, other: Node) -> None:
        codec = Codec(9, KEYS, 1, one.state.config.total, one.state.voice.spoken.own)
        raw = codec.encode(message)
        try:
            read = Codec(9, KEYS, 1, other.state.config.total, other.state.voice.spoken.own).decode(
                raw
            )
        except UnreadableError as error:
            other.receive_unread(error.head, now=self.now)
        else:
            other.receive(read, now=self.now)


def wired(*speaks: Versions, alive: bool = False) -> Wired:
    voters = frozenset(range(1, len(speaks) + 1))
    lan = Wired(
        *(node(me, voters=voters, speaks=one, alive=alive) for me, one in enumerate(speaks, 1))
    )
    lan.run(4 * SECOND)
    return lan


def spoken(lan: Lan) -> set[int]:
    """Return the versions in which nodes said what they said last."""
    return {lan.said(me).version for me in lan.nodes}


def replaced(lan: Lan, me: int, speaks: Versions) -> None:
    """Exchange the program of a node by a planned restart, and let nothing be lost by that."""
    old = lan.nodes[me]
    old.prepare_restart(now=lan.now)
    document = borne(lan, me)
    lan.run(lan.now + 200 * MS)
    lan.nodes[me] = Node(old.state.config._replace(speaks=speaks), handover=document, now=lan.now)
    ends = lan.now + 2 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert sum(lan.held().values()) == 0b1111


def test_hosts_are_upgraded_one_by_one_and_put_back() -> None:
    lan = wired(OLD, OLD, OLD)
    assert sum(lan.held().values()) == 0b1111
    for me in (1, 2):
        replaced(lan, me, BOTH)
        assert spoken(lan) == {1}
    seen = lan.nodes[1].snapshot(now=lan.now)
    assert (seen.version, seen.held_down_by) == (1, [3])
    assert [one.speaks for one in seen.nodes] == [BOTH, BOTH, OLD]
    replaced(lan, 3, BOTH)
    assert spoken(lan) == {2}
    assert lan.nodes[1].snapshot(now=lan.now).held_down_by == []
    for me in (3, 1, 2):
        replaced(lan, me, OLD)
        assert spoken(lan) == {1}


def test_one_of_an_older_release_starts_anew_among_newer_ones() -> None:
    """It reads nothing of theirs at first, and they learn that."""
    lan = wired(BOTH, BOTH, BOTH)
    assert spoken(lan) == {2}
    gone = lan.nodes.pop(3)
    lan.run(lan.now + 3 * SECOND)
    lan.nodes[3] = Node(gone.state.config._replace(speaks=OLD), incarnation=99, now=lan.now)
    ends = lan.now + 4 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.nodes[1].kernel.open | lan.nodes[2].kernel.open | lan.nodes[3].kernel.open
    assert spoken(lan) == {1}
    assert all(lan.held().values())
    assert sum(lan.held().values()) == 0b1111


@pytest.mark.parametrize("third", [OLD, NEW])
def test_those_who_have_none_in_common_serve_without_one_another(third: Versions) -> None:
    lan = wired(OLD, OLD, NEW) if third is NEW else wired(NEW, NEW, OLD)
    assert lan.held()[3] == 0
    assert lan.held()[1] | lan.held()[2] == 0b1111
    heard = lan.nodes[1].snapshot(now=lan.now).nodes[2]
    assert (heard.alive, heard.speaks) == (False, third)


@pytest.mark.parametrize(
    "speaks",
    [(BOTH, NEW, NEW), (NEW, BOTH, BOTH), (Versions(1, 9), Versions(3, 255), Versions(2, 4))],
)
def test_those_who_have_one_in_common_come_together(speaks: tuple[Versions, ...]) -> None:
    """Whoever reads nothing of the lowest of another echoes it, and is heard."""
    lan = wired(*speaks)
    assert all(lan.held().values())
    assert sum(lan.held().values()) == 0b1111
    assert spoken(lan) == {min(one.highest for one in speaks)}
    for me in (1, 2, 3):
        gone = lan.nodes.pop(me)
        lan.run(lan.now + 3 * SECOND)
        lan.nodes[me] = Node(gone.state.config, incarnation=90 + me, now=lan.now)
        lan.run(lan.now + 4 * SECOND)
        assert all(lan.held().values())


def test_one_that_not_all_can_read_starts_among_those_who_serve() -> None:
    lan = wired(BOTH, OLD, OLD)
    gone = lan.nodes.pop(3)
    lan.run(lan.now + 3 * SECOND)
    lan.nodes[3] = Node(gone.state.config._replace(speaks=NEW), incarnation=99, now=lan.now)
    ends = lan.now + 6 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held()[1] | lan.held()[2] == 0b1111
        assert lan.held()[3] == 0


def test_of_two_hosts_that_have_none_in_common_neither_serves() -> None:
    """Nor does one that served alone go on when such a one begins."""
    lan = wired(OLD, NEW, alive=True)
    lan.run(20 * SECOND)
    assert lan.held() == {1: 0, 2: 0}
    assert not any(
        one.snapshot(now=lan.now).nodes[me].deaf for one in lan.nodes.values() for me in (0, 1)
    )
    gone = lan.nodes.pop(2)
    lan.run(lan.now + 2 * SECOND)
    assert lan.held() == {1: 0b1111}
    lan.nodes[2] = Node(gone.state.config, incarnation=99, now=lan.now)
    ends = lan.now + 12 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held()[2] == 0
    assert lan.held() == {1: 0, 2: 0}


def test_of_two_hosts_that_have_none_in_common_the_deaf_one_serves() -> None:
    lan = wired(OLD, NEW, alive=True)
    lan.cut = {(1, 2)}
    ends = lan.now + 20 * SECOND
    while lan.now < ends:
        lan.run(lan.now + 5 * MS)
        assert lan.held()[1] == 0
    assert lan.held() == {1: 0, 2: 0b1111}


@pytest.mark.parametrize("every", [5 * MS, 20 * MS])
def test_recordings_make_nobody_speak_higher(every: int) -> None:
    """Of a host that was put back to an older release, from before that; nobody needs a key."""
    lan = wired(BOTH, BOTH, BOTH)
    recorded = [message for message in lan.sent if message.sender == 3][-1]
    replaced(lan, 3, OLD)
    ends = lan.now + 5 * SECOND
    while lan.now < ends:
        for me in (1, 2):
            lan.nodes[me].receive(recorded, now=lan.now)
        lan.run(lan.now + every)
        assert spoken(lan) == {1}
        assert all(lan.held().values())


def test_recordings_of_a_incarnation_that_is_not_known_hold_nobody_down() -> None:
    """Its node is heard, and says what it speaks."""
    lan = wired(BOTH, BOTH, BOTH)
    recorded = lan.said(3)._replace(incarnation=77, speaks=OLD, version=1)
    ends = lan.now + 3 * SECOND
    while lan.now < ends:
        for me in (1, 2):
            lan.nodes[me].receive(recorded, now=lan.now)
        lan.run(lan.now + 10 * MS)
        assert spoken(lan) == {2}


def test_of_a_node_that_is_not_heard_the_lowest_counts() -> None:
    """One that starts anew, older than before, beside recordings of what it was."""
    lan = wired(BOTH, BOTH, BOTH)
    recorded = lan.said(3)._replace(incarnation=77)
    gone = lan.nodes.pop(3)
    lan.nodes[3] = Node(gone.state.config._replace(speaks=OLD), incarnation=99, now=lan.now)
    ends = lan.now + 6 * SECOND
    while lan.now < ends:
        for me in (1, 2):
            lan.nodes[me].receive(recorded, now=lan.now)
        lan.run(lan.now + 10 * MS)
    assert spoken(lan) == {1}
    assert all(lan.held().values())
    assert sum(lan.held().values()) == 0b1111
