"""What is said of the other nodes: in the log once, and in `faults` for as long as it is so."""

from __future__ import annotations

import logging
import re
from functools import partial

import pytest

from clusterip.core.config.key_file import Key, Keys
from clusterip.core.findings import Code
from clusterip.core.messages.message import digest_of_name
from clusterip.core.units import SECOND
from tests.runtime.agents import ALL, MS, Cluster, Host, sharing
from tests.runtime.said import codes, faults, findings, said, with_address

pytestmark = pytest.mark.usefixtures("info")


# ---- who is there ----


def test_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    assert [faults(host) for host in cluster.hosts] == [[], [], []]
    # Each of the two others says so once.
    assert caplog.messages.count("web3 is heard") == 2
    assert said(caplog, "web3") == ["web3 is heard"]


def test_a_death_and_a_return(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    caplog.clear()
    third = cluster["web3"]
    held = third.held
    third.runs = False
    cluster.run(10)
    lines = [one for one in caplog.messages if one.startswith("web3")]
    assert len(lines) == 2
    for line in lines:
        assert re.match(r"web3 is silent for 0\.[78] s: does its daemon run, ", line)
        assert re.search(rf"heard\? It held 2 buckets \({held[0]}[,-]{held[1]}\)$", line)
    (fault,) = faults(cluster["web1"])
    assert re.match(r"web3 is silent for (9\.9|10\.\d) s: does its daemon run", fault)
    assert codes(cluster["web1"]) == ["silent"]
    caplog.clear()
    third.inbox.inbox.clear()
    third.start()
    third.runs = True
    third.agent.pump()
    cluster.run(2)
    lines = [one for one in caplog.messages if one.startswith("web3")]
    assert len(lines) == 2
    assert all(re.fullmatch(r"web3 is back after 10\.\d s, started anew", one) for one in lines)
    assert faults(cluster["web1"]) == []


def test_sentences_on_one_that_is_silent_end(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    cluster["web3"].exchange.use_keys(Keys((Key(2, b"x" * 32),)))
    cluster.run(4)
    lines = [one for one in caplog.messages if one.startswith("web3 is silent")]
    assert lines
    for line in lines:
        assert "give all hosts the key file of the majority. It held 2 buckets (" in line


def test_a_new_node_may_take_its_time_as_all_did(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    cluster.run(10)
    first = cluster["web1"]
    fourth = digest_of_name("web4")
    first.exchange.names.known[fourth] = "web4"
    first.agent.tell(
        partial(first.node.set_voters, voters=first.node.state.votes.voters.voters | {fourth})
    )
    cluster.run(4.8)
    assert said(caplog, "web4") == []
    assert not any("web4 was" in one for one in faults(first))
    cluster.run(0.4)
    assert said(caplog, "web4")[0].startswith("web4 was never heard: does its daemon run")
    assert any("web4" in one for one in faults(first))


def test_one_that_was_cut_off_is_back(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    peers = [list(host.inbox.peers) for host in cluster.hosts]
    cluster.cut("web3")
    cluster.run(3)
    # The one that is cut off says of itself what the matter is, and not of each other.
    assert any(one.startswith("this node hears nobody: is UDP port") for one in caplog.messages)
    assert codes(cluster["web3"]) == ["no-majority"]
    for host, some in zip(cluster.hosts, peers, strict=True):
        host.inbox.peers = some
    caplog.clear()
    cluster.run(1)
    lines = said(caplog, "web3")
    assert len(lines) <= 2
    assert all(re.fullmatch(r"web3 is back after 3\.\d s", one) for one in lines)


@pytest.mark.parametrize("seconds", [1, 5])
def test_who_stood_still_heard_no_deaths(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    caplog.clear()
    first = cluster["web1"]
    first.runs = False
    cluster.run(seconds)
    first.runs = True
    caplog.clear()
    # A command may come first, then a timer: what came in the meantime is read later.
    assert faults(first) == []
    first.agent.timer()
    assert faults(first) == []
    cluster.run(3)
    false = re.compile("(web2|web3) is (silent|back)|this node hears nobody")
    assert not any(map(false.match, caplog.messages))
    assert faults(first) == []


def test_who_died_while_this_node_stood_still_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    first.runs = False
    cluster.run(2)
    third.runs = False
    cluster.run(3)
    caplog.clear()
    first.inbox.inbox.clear()
    first.runs = True
    first.agent.timer()
    cluster.run(2)
    (line,) = (one for one in caplog.messages if one.startswith("web3"))
    assert re.match(r"web3 is silent for 0\.[78] s: ", line)
    (fault,) = faults(first)
    assert re.match(r"web3 is silent for (1\.9|2\.0) s: ", fault)


def test_one_that_stops_is_no_death(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    third = cluster["web3"]
    third.agent.tell(third.node.leave)
    cluster.now += 10 * MS
    third.agent.pump()
    third.runs = False
    caplog.clear()
    cluster.run(6)
    records = [one for one in caplog.records if one.getMessage().startswith("web3")]
    assert [one.levelno for one in records] == [logging.INFO] * 2
    assert all("it was stopped, or drained before" in one.getMessage() for one in records)
    (fault,) = faults(cluster["web1"])
    assert fault.endswith(" s: it was stopped, or drained before; start it when it is to serve")
    assert codes(cluster["web1"]) == ["stopped"]


def test_a_planned_restart_is_neither_death_nor_return(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    third = cluster["web3"]
    third.agent.tell(third.node.prepare_restart)
    while not third.agent.may_go:
        cluster.run(0.005)
    document = third.agent.hand_over()
    caplog.clear()
    cluster.run(3)
    third.start(document)
    cluster.run(3)
    assert not any(one.startswith(("web", "this node")) for one in caplog.messages)
    assert [faults(host) for host in cluster.hosts] == [[], [], []]


def look(host: Host, cluster: Cluster) -> list[str]:
    """Have a host look what is wrong, as its daemon does each second; return what is over."""
    raised, found = host.exchange.raised, host.exchange.wrong(now=cluster.now)
    return [one.text for one in raised.hold(found, now=cluster.now)]


def test_what_goes_on_is_not_said_again_at_a_planned_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    third.runs = False
    cluster.run(6)
    look(first, cluster)
    assert sum(one.startswith("web3 is silent") for one in caplog.messages) == 2
    first.agent.tell(first.node.prepare_restart)
    while not first.agent.may_go:
        cluster.run(0.005)
    handed = first.agent.hand_over()
    caplog.clear()
    first.start(handed)
    for _ in range(20):
        cluster.run(1)
        assert look(first, cluster) == []
    assert [one for one in caplog.messages if one.startswith("web3")] == []
    third.inbox.inbox.clear()
    third.start()
    third.runs = True
    third.agent.pump()
    cluster.run(2)
    assert look(first, cluster) == []
    lines = [one for one in caplog.messages if one.startswith("web3")]
    assert len(lines) == 2
    assert all(re.fullmatch(r"web3 is back after 2\d\.\d s, started anew", one) for one in lines)
    # The next time it is news.
    third.runs = False
    cluster.run(3)
    assert sum(one.startswith("web3 is silent") for one in caplog.messages) == 2


def test_who_hears_nobody_still_does_not_say_so_again(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    cluster["web2"].runs = cluster["web3"].runs = False
    cluster.run(6)
    look(first, cluster)
    code = Code.HEARS_NOBODY.value
    left = first.exchange.raised.leave()
    assert code in [one["finding"]["code"] for one in left]
    caplog.clear()
    first.start()
    first.exchange.raised.restore(left, now=cluster.now)
    cluster.run(10)
    look(first, cluster)
    assert [one for one in caplog.messages if one.startswith(("this node", "web"))] == []
    assert code in [one.finding.code for one in first.exchange.raised.now(now=cluster.now)]


def test_one_that_is_never_heard(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    with_address(cluster)
    cluster["web3"].runs = False
    cluster.run(4.9)
    assert said(caplog, "web3") == []
    assert faults(cluster["web1"]) == []
    cluster.run(20)
    line = (
        "web3 was never heard: does its daemon run, its network work, and UDP port 5407 let it be"
        " heard?"
    )
    assert [one for one in caplog.messages if one.startswith("web3")] == [line] * 2
    assert faults(cluster["web1"]) == [line]


def test_a_port_that_is_blocked_between_two(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    with_address(cluster)
    first, _, third = cluster.hosts
    third.inbox.peers.remove(first.inbox)
    cluster.run(8)
    (found,) = findings(first)
    assert (found.code, found.what) == ("silent", "web3 was never heard")
    (fault,) = faults(first)
    assert fault == (
        "web3 was never heard: web2 can hear it: is UDP port 5407 open from it to this host, and"
        " this node in its file, with the right address?"
    )
    assert caplog.messages.count(fault) == 1
    # For the third it is heard, and deaf: that is told apart.
    assert faults(third) == []
    assert any(one.startswith("web1 is heard, but does not hear this") for one in caplog.messages)
    caplog.clear()
    third.inbox.peers.append(first.inbox)
    cluster.run(2)
    assert "web3 is heard" in caplog.messages
    assert "web1 hears this node again" in caplog.messages
    assert faults(first) == []


# ---- when this daemon did not run ----


def frozen(cluster: Cluster, seconds: float) -> Host:
    """Return the first host, whose daemon did not run for so long, and runs on from now."""
    first = cluster["web1"]
    first.runs = False
    cluster.run(seconds)
    first.runs = True
    return first


@pytest.mark.parametrize("seconds", [0.8, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("timer_first", [True, False])
def test_nobody_was_silent_while_this_daemon_did_not_run(
    seconds: float, timer_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = sharing()
    first = frozen(cluster, seconds)
    caplog.clear()
    assert faults(first) == []
    if timer_first:
        first.agent.timer()
    else:
        cluster.step(first)
    assert faults(first) == []
    cluster.run(2)
    (late,) = (one for one in caplog.messages if one.startswith("starved"))
    assert " ms late, of a lease of 700 ms" in late
    assert said(caplog, "web[23]|this node") == []
    assert cluster.answered() == ALL


def test_nobody_is_silent_whom_a_daemon_that_is_stopped_again_and_again_hears(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    for seconds in (0.7, 0.75, 0.85, 0.3) * 5:
        first = frozen(cluster, seconds)
        caplog.clear()
        first.agent.timer()
        cluster.step(first)
        assert said(caplog, "web[23]|this node") == []
        cluster.run(0.05)


def test_who_dies_while_this_daemon_does_not_run_is_silent_from_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    cluster["web3"].runs = False
    first = frozen(cluster, 5)
    cluster["web2"].runs = False
    first.inbox.inbox.clear()
    caplog.clear()
    cluster.run(0.6)
    assert said(caplog, "web[23]|this node") == []
    cluster.run(0.3)
    second, third, nobody = said(caplog, "web[23]|this node")
    assert re.match(r"web2 is silent for 0\.[78] s: does its daemon run", second)
    assert re.match(r"web3 is silent for 0\.[78] s: does its daemon run", third)
    assert nobody.startswith("this node hears nobody: is UDP port")
    caplog.clear()
    # What was so before goes on.
    frozen(cluster, 5)
    assert faults(first) == []
    cluster.run(2)
    assert said(caplog, "web[23]|this node") == []


def test_a_death_is_none_the_less_for_a_daemon_that_is_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    cluster["web3"].runs = False
    cluster.run(2)
    first = frozen(cluster, 3)
    (fault,) = faults(first)
    assert re.match(r"web3 is silent for (4\.9|5\.\d) s: ", fault)
    caplog.clear()
    cluster.run(2)
    assert said(caplog, "web3") == []


def test_a_new_node_has_its_time_while_this_daemon_runs(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    fourth = digest_of_name("web4")
    first.exchange.names.known[fourth] = "web4"
    first.agent.tell(
        partial(first.node.set_voters, voters=first.node.state.votes.voters.voters | {fourth})
    )
    cluster.run(1)
    frozen(cluster, 6)
    cluster.run(4.8)
    assert said(caplog, "web4") == []
    assert not any("web4 was" in one for one in faults(first))
    cluster.run(0.4)
    assert said(caplog, "web4")[0].startswith("web4 was never heard: does its daemon run")


def test_nobody_was_silent_while_this_machine_stood_still(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    stood = 0
    first.agent._clock = first.exchange._clock = first.clock = lambda: cluster.now - stood
    first.runs = False
    cluster.run(5)
    stood = 5 * SECOND
    first.runs = True
    caplog.clear()
    first.agent.timer()
    for _ in range(400):
        cluster.now += 5 * MS
        for host in cluster.hosts:
            if host.inbox.inbox:
                host.agent.receive()
            if host.node.next_timer() <= host.clock():
                host.agent.timer()
    assert any(one.startswith("this machine stood still for") for one in caplog.messages)
    assert said(caplog, "web[23]|this node") == []
    assert faults(first) == []


# ---- reached only by what is said to everybody ----


def test_a_node_whose_address_is_wrong_in_the_file_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    with_address(cluster)
    number = third.node.me
    others = first.exchange.others
    others.addresses = {number: ("10.9.0.93",)}
    first.inbox.peers.remove(third.inbox)
    first.inbox.others = [third.inbox]
    cluster.run(8)
    assert all(host.held for host in cluster.hosts)
    words = (
        "web3 is not reached at 10.9.0.93, its address in the file here, only by what is said to"
        " everybody on the interface; its messages come from 10.9.0.13: mend the file"
    )
    (fault,) = faults(first)
    assert fault.startswith(words)
    assert codes(first) == ["not-reached"]
    assert sum(one.startswith(words) for one in caplog.messages) == 1
    assert [faults(cluster["web2"]), faults(third)] == [[], []]
    first.inbox.peers.append(third.inbox)
    first.inbox.others = []
    cluster.run(1)
    assert faults(first) == []
    assert caplog.messages[-1] == "web3 is reached at its address"


def test_an_outage_is_no_wrong_address() -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    first.exchange.others.addresses = {third.node.me: ("10.9.0.13",)}
    for _ in range(6):
        first.inbox.peers.remove(third.inbox)
        cluster.run(0.6)
        first.inbox.peers.append(third.inbox)
        for _ in range(20):
            cluster.run(0.1)
            assert not any("not reached" in one for one in faults(first))
