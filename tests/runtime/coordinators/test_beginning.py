"""With whose memory a node of the peers begins, and for how long it is mute."""

from __future__ import annotations

import json

import msgspec
import pytest

from clusterip.adapters.memory import FakeMemory
from clusterip.core.config.digest import voter_ids
from clusterip.core.config.model import Config
from clusterip.core.errors import RefusedError
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT, FAST
from clusterip.core.leftovers import Handed
from clusterip.core.messages.message import digest_of_name
from clusterip.core.units import SECOND
from clusterip.runtime.coordinators.beginning import make_node
from clusterip.runtime.coordinators.exchange import Given
from clusterip.runtime.naming import Names
from clusterip.runtime.startup import Options
from tests.core.config.texts import config_with
from tests.runtime.agents import ALL, KEYS, sharing

CONFIG = config_with(node="witness = true")
LEASE = DEFAULT.promise(DEFAULT.lease)
RESTART = DEFAULT.promise(DEFAULT.restart)
NOW = 1000 * SECOND
NAMES = frozenset({"web1", "web2", "web3"})


def made(
    memory: FakeMemory,
    config: Config = CONFIG,
    options: Options | None = None,
    handed: Handed | None = None,
    name: str = "web1",
) -> Node:
    me = config.node(name)
    assert me is not None
    given = Given(
        config, me, KEYS, Names(config), memory, None, handed, lambda: NOW, options or Options()
    )
    return make_node(given)


def test_a_first_start_is_mute_for_the_longest_promise_there_may_be() -> None:
    memory = FakeMemory()
    node = made(memory)
    assert node.state.votes.voter.mute_until == NOW + RESTART
    # One that starts after this one dies knows as much.
    assert memory.until == NOW + RESTART
    assert memory.names == NAMES


@pytest.mark.parametrize(
    ("note", "mute"),
    [
        (NOW - SECOND, LEASE),
        (NOW + LEASE // 2, LEASE),
        (NOW + 4 * SECOND, 4 * SECOND),
        (NOW + 60 * SECOND, 60 * SECOND),
    ],
)
def test_the_note_is_respected(note: int, mute: int) -> None:
    memory = FakeMemory(until=note)
    assert made(memory).state.votes.voter.mute_until == NOW + mute
    assert memory.until == NOW + mute


def test_starting_over_and_over_shortens_nothing() -> None:
    memory = FakeMemory(until=NOW + 60 * SECOND)
    for _ in range(3):
        assert made(memory).state.votes.voter.mute_until == NOW + 60 * SECOND


def test_what_the_node_is_told() -> None:
    config = config_with(cluster='buckets = 8\nprofile = "fast"', node="weight = 7")
    node = made(FakeMemory(), config, name="web3")
    assert node.me == digest_of_name("web3")
    assert node.state.votes.voters.voters == voter_ids(config)
    assert (node.state.config.total, node.state.timing, node.own.weight) == (8, FAST, 7)
    assert not node.state.config.alive
    assert made(FakeMemory(), name="web3").own.weight == 0


def test_every_memory_has_a_incarnation_of_its_own() -> None:
    incarnations = {made(FakeMemory()).incarnation for _ in range(20)}
    assert len(incarnations) == 20
    assert all(0 < incarnation < 1 << 64 for incarnation in incarnations)


# ---- the hand-over ----


def handed_over(config: Config = CONFIG, name: str = "web1") -> tuple[Node, Handed]:
    node = made(FakeMemory(until=0), config, name=name)
    while node.next_action():
        pass
    node.own.leaving = True
    return node, Handed(node=msgspec.Raw(node.hand_over()))


def test_it_is_taken() -> None:
    before, handed = handed_over()
    memory = FakeMemory()
    node = made(memory, handed=handed)
    assert (node.incarnation, node.own.leaving) == (before.incarnation, True)
    assert node.state.votes.voter.mute_until == before.state.votes.voter.mute_until
    # What is known goes on: nothing is recorded anew.
    assert memory == FakeMemory()


def test_it_is_taken_whatever_else_changed_in_the_file() -> None:
    before, handed = handed_over()
    config = config_with(node="witness = true", cluster='stop = "drain"', rest="# more")
    assert made(FakeMemory(), config, handed=handed).incarnation == before.incarnation


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (config_with(node="witness = true", cluster="buckets = 8"), "web1"),
        (config_with(node="witness = true", vip='mac = "01:00:5e:00:00:21"'), "web1"),
        (CONFIG, "web2"),
    ],
    ids=["buckets", "mac", "another node"],
)
def test_another_configuration_takes_none(
    config: Config, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, handed = handed_over()
    memory = FakeMemory(until=NOW + 9 * SECOND)
    node = made(memory, config, handed=handed, name=name)
    assert node.incarnation != before.incarnation
    assert node.state.votes.voter.mute_until == NOW + 9 * SECOND
    assert caplog.messages == ["the configuration is another one: starting without the hand-over"]


@pytest.mark.parametrize("damage", ["", "{}", "null", "[]", '{"version": 2}', '{"version": 99}'])
def test_a_damaged_one_is_not_taken(damage: str, caplog: pytest.LogCaptureFixture) -> None:
    memory = FakeMemory(until=NOW + 9 * SECOND)
    assert (
        made(memory, handed=Handed(node=msgspec.Raw(damage.encode()))).state.votes.voter.mute_until
        == NOW + 9 * SECOND
    )
    (line,) = caplog.messages
    assert line.startswith("the hand-over is ")


def test_one_of_another_version_is_not_taken() -> None:
    before, handed = handed_over()
    fields = json.loads(bytes(handed.node))
    fields["version"] += 1
    other = Handed(node=msgspec.Raw(json.dumps(fields).encode()))
    assert made(FakeMemory(), handed=other).incarnation != before.incarnation


# ---- the voters ----


@pytest.mark.parametrize("last", [{"web1", "web2", "web3"}, {"web1", "web2"}])
def test_voters_one_apart(last: set[str]) -> None:
    memory = FakeMemory(names=frozenset(last))
    made(memory)
    assert memory.names == NAMES


@pytest.mark.parametrize("last", [{"web1"}, {"web1", "web2", "web4"}, {"a", "b", "c"}])
def test_voters_more_than_one_apart(last: set[str]) -> None:
    memory = FakeMemory(until=NOW, names=frozenset(last))
    with pytest.raises(RefusedError, match=r"\(web1, web2, web3\) differ by more than one") as no:
        made(memory, options=Options("f"))
    assert f"({', '.join(sorted(last))})" in no.value.message
    if "web4" in last:
        said = "new web3; gone web4; one in the place of another counts as two"
        assert no.value.message.endswith(said)
    assert "start this one once with --new-voters; else change one at a time" in no.value.cure
    assert (memory.until, memory.names) == (NOW, frozenset(last))
    made(memory, options=Options("f", new_voters=True))
    assert memory.names == NAMES


def test_a_host_that_remembers_other_voters_may_join_those_who_have_the_file_alone() -> None:
    cluster = sharing()
    third = cluster["web3"]
    third.runs = False
    cluster.run(3)
    rest = [cluster["web1"], cluster["web2"]]
    assert cluster.answered() == ALL
    # It was in a cluster of others, and promised something there just before.
    until = cluster.now + 4 * SECOND
    third.memory.names, third.memory.until = frozenset({"web3", "a", "b", "c"}), until
    with pytest.raises(RefusedError, match="start this one once with --new-voters"):
        third.start()
    third.inbox.inbox.clear()
    third.start(new_voters=True).pump()
    third.runs = True
    assert third.memory.names == NAMES
    while cluster.now < until:
        # What it promised binds it, and nobody needs its vote.
        cluster.run(0.05)
        assert not any(one.buckets for one in third.node.state.votes.voter.promises.values())
        assert cluster.answered() == ALL
    cluster.run(8)
    assert third.held
    assert cluster.answered() == ALL
    # From now on it remembers these.
    third.start().pump()
    cluster.run(8)
    assert third.held
    assert all(host.held for host in rest)
