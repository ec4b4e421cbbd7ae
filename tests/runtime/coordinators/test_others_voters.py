"""What is said where hosts run with other voters, for one of them was not told of a change."""

from __future__ import annotations

import pytest

from clusterip.core.config.reading import read
from clusterip.core.errors import RefusedError
from clusterip.core.findings import Code
from clusterip.core.health import Health
from clusterip.core.lease.voter_set import VoterSet
from clusterip.runtime.faults import of_status
from clusterip.runtime.report import report
from tests.core.config.texts import with_lines
from tests.runtime.agents import ALL, KEYS, MS, TEXT, Cluster, Host, sharing
from tests.runtime.said import codes, faults

LAST = '[[node]]\nname = "web3"\n'
TWO = read(TEXT.replace(LAST, ""))
FOUR = read(with_lines("buckets = 6", rest='[[node]]\nname = "web4"'))
OURS = "the voters web1, web2"
BEFORE = f"{OURS}, web3"


def forgotten() -> Cluster:
    """Return three hosts whose third was stopped and removed, and whose second was not told."""
    cluster = sharing()
    third = cluster["web3"]
    third.agent.tell(third.node.leave)
    cluster.run(1)
    third.runs = False
    reload(cluster["web1"], TWO)
    cluster.run(2)
    return cluster


def reload(host: Host, config: object) -> None:
    host.exchange.adopt(config, KEYS)  # type: ignore[arg-type]
    host.agent.pump()


def set_link(cluster: Cluster, host: Host, *, up: bool) -> None:
    host.agent.tell(lambda now: host.node.set_link(up, now=now))
    cluster.run(5 * MS / 1e9)


def test_a_host_that_was_forgotten_is_named_on_both_sides() -> None:
    cluster = forgotten()
    (first,) = faults(cluster["web1"])
    assert first == (
        f"web2 still runs with {BEFORE}: this host runs with {OURS}; `clusterip reload` there,"
        " with the same file"
    )
    second = faults(cluster["web2"])[0]
    assert second == (
        f"web1 already runs with {OURS}: this host runs with {BEFORE}; `clusterip reload` here,"
        " with the same file as there"
    )
    reload(cluster["web2"], TWO)
    cluster.run(3)
    assert [faults(cluster[name]) for name in ("web1", "web2")] == [[], []]


def test_a_host_that_was_forgotten_when_one_was_added() -> None:
    cluster = sharing()
    for name in ("web1", "web3"):
        cluster[name].exchange.names.learn(FOUR)
        reload(cluster[name], FOUR)
    cluster.run(2)
    said = [one for one in faults(cluster["web1"]) if "web2" in one]
    assert said[0].startswith(f"web2 still runs with {BEFORE}: ")
    assert any("already" in one for one in faults(cluster["web2"]))


def test_one_that_was_removed_and_comes_back_learns_the_cause() -> None:
    cluster = forgotten()
    third = cluster["web3"]
    third.inbox.inbox.clear()
    third.start()
    third.runs = True
    third.agent.pump()
    cluster.run(12)
    (found,) = faults(third)
    assert found.startswith(f"web1 runs with {OURS}, and this host is none of them: ")
    assert "if this host was removed, stop its daemon" in found
    said = [one for one in faults(cluster["web1"]) if one.startswith("web3")]
    assert "web3 runs with" in said[0]
    assert "is not in the node list of this host any more" in said[0]


def test_one_that_comes_back_when_all_have_forgotten_it(caplog: pytest.LogCaptureFixture) -> None:
    """The files are the same in all that must be equal: it is the voters, and that is said."""
    cluster = forgotten()
    reload(cluster["web2"], TWO)
    cluster.run(3)
    third = cluster["web3"]
    third.inbox.inbox.clear()
    caplog.clear()
    third.start()
    third.runs = True
    third.agent.pump()
    cluster.run(4)
    words = f"web1 runs with {OURS}, and this host is none of them: "
    assert any(one.startswith(words) for one in faults(third))
    assert not any("another configuration" in one for one in caplog.messages)
    said = report(third.config, third.agent, Health(()), now=cluster.now)
    # That it is not heard by them follows from that.
    assert {one.code for _, one in of_status(said)} == {Code.DEAF}
    assert any(one.what.startswith(words[:-2]) for one in said.faults)


def test_who_is_removed_is_spoken_to_until_all_know() -> None:
    text = TEXT
    for number in (1, 2, 3):
        name = f'name = "web{number}"\n'
        text = text.replace(name, f'{name}address = "10.9.0.{10 + number}"\n')
    cluster = sharing(read(text))
    first, second, third = cluster.hosts
    after = read(text[: text.rindex("[[node]]")])
    reload(first, after)
    assert set(first.inbox.aims[0]) == {"10.9.0.12", "10.9.0.13"}
    third.agent.tell(third.node.leave)
    cluster.run(1)
    third.runs = False
    reload(second, after)
    cluster.run(3)
    first.exchange.catch_up()
    assert set(first.inbox.aims[0]) == {"10.9.0.12"}


def test_a_host_that_serves_nothing_has_a_reason() -> None:
    """What the first says does not reach the third, which so has what is for it."""
    cluster = forgotten()
    first, third = cluster["web1"], cluster["web3"]
    first.inbox.peers = [cluster["web2"].inbox]
    third.inbox.inbox.clear()
    third.start()
    third.runs = True
    third.agent.pump()
    cluster.run(12)
    set_link(cluster, first, up=False)
    cluster.run(3)
    set_link(cluster, first, up=True)
    cluster.run(25)
    assert first.held == []
    assert codes(first)[0] == Code.VOTERS_DIFFER
    assert codes(first)[-1] == Code.SERVES_NOTHING
    assert "web3 does not hear this host" in faults(first)[-1]
    assert any("this node in its file" in one for one in faults(third))


def test_who_is_to_serve_nothing_needs_no_reason() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.agent.tell(first.node.drain)
    cluster.run(30)
    assert first.held == []
    assert cluster.answered() == ALL
    assert faults(first) == []


def test_a_change_too_early_says_who_lacks_the_one_before() -> None:
    cluster = forgotten()
    with pytest.raises(RefusedError) as refused:
        cluster["web1"].exchange.adopt(read(TEXT), KEYS)
    assert refused.value.message.endswith(f"every node: web2 runs with {BEFORE}")
    assert "back on web2" in refused.value.cure


def test_one_that_is_not_heard_lacks_it_too() -> None:
    cluster = forgotten()
    cluster["web2"].runs = False
    cluster.run(3)
    with pytest.raises(RefusedError, match=": web2 is not heard"):
        cluster["web1"].exchange.adopt(read(TEXT), KEYS)


def test_two_that_went_different_ways() -> None:
    cluster = sharing()
    first, second, _ = cluster.hosts
    first.exchange.names.learn(FOUR)
    reload(first, FOUR)
    reload(second, TWO)
    cluster.run(2)
    (found,) = (one for one in faults(first) if one.startswith("web2"))
    assert found.startswith(f"web2 runs with {OURS}: this host runs with {BEFORE}, web4; ")
    assert "the same file on both" in found


def test_voters_that_are_not_known() -> None:
    cluster = sharing()
    second = cluster["web2"].node.state
    second.votes.voters = VoterSet({*second.votes.voters.voters, 77, 78})
    cluster.run(2)
    found = [one for one in faults(cluster["web1"]) if one.startswith("web2 runs")]
    assert found[0].startswith("web2 runs with other voters, some of them not known here: ")
