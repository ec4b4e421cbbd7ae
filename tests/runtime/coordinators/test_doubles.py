"""Two daemons that run as one node: all say so, each once, and neither takes from the other."""

from __future__ import annotations

import re

import pytest

from clusterip.adapters.datagrams import Received
from clusterip.core.config.reading import read
from clusterip.core.lease import contact
from tests.runtime.agents import TEXT, Cluster, Host, sharing
from tests.runtime.said import codes, commands, faults, message_of

pytestmark = pytest.mark.usefixtures("info")

RIVAL = "a second daemon runs as web2, at 10.9.0.14, beside the one that is heard, at 10.9.0.12"
DOUBLE = "another host runs as this node, web2"


def with_double(cluster: Cluster) -> Host:
    """Start a second web2, to which no message goes but what is said to everybody."""
    double = Host("web2", cluster["web2"].config, lambda: cluster.now)
    real, rest = cluster["web2"], [cluster["web1"], cluster["web3"]]
    for number, host in enumerate(cluster.hosts, start=11):
        host.inbox.address = f"10.9.0.{number}"
        host.inbox.others = [double.inbox]
    double.exchange.others.doubles.own = ("10.9.0.12",)
    double.inbox.address = "10.9.0.14"
    double.inbox.peers = [host.inbox for host in rest]
    double.inbox.others = [real.inbox]
    cluster.hosts.append(double)
    double.agent.pump()
    return double


def test_another_host_that_runs_as_this_node(caplog: pytest.LogCaptureFixture) -> None:
    cluster, copy = sharing(), Cluster(read(TEXT))
    copy.now = cluster.now
    first, second = cluster["web1"], copy["web1"]
    # What we said ourselves, come back, is nobody else's.
    first.take([Received(message_of(first), "10.9.0.11")] * 5)
    cluster.run(0.1)
    assert faults(first) == []
    for _ in range(20):
        copy.run(0.1)
        first.take([Received(message_of(second), "10.9.0.66")])
        cluster.run(0.1)
    words = "another host runs as this node, web1, at 10.9.0.66"
    (fault,) = faults(first)
    assert fault.startswith(words)
    assert sum(one.startswith(words) for one in caplog.messages) == 1
    cluster.run(5)
    assert faults(first) == []


def test_a_second_daemon_of_a_node_is_named_by_all(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    real = cluster["web2"]
    held = real.held
    double = with_double(cluster)
    real.inbox.others = []
    cluster.run(3)
    for host in (cluster["web1"], cluster["web3"]):
        (fault,) = faults(host)
        assert codes(host) == ["second-daemon"]
        assert fault.startswith(RIVAL)
        assert re.search(r"again: \d\d messages in [23] s: stop the wrong one", fault)
    # The double gets no message; who does not hear it, hears that it is there.
    assert codes(double) == codes(real) == ["double"]
    (fault,) = faults(double)
    assert fault.startswith(f"{DOUBLE} (10.9.0.12 in the file), and is heard in its place, as web")
    assert fault.endswith("; until then this one serves nothing")
    assert contact.barred(double.node.state, cluster.now)
    (fault,) = faults(real)
    assert fault.startswith(f"{DOUBLE}, at 10.9.0.14, ")
    assert not contact.barred(real.node.state, cluster.now)
    for words in (RIVAL, DOUBLE):
        assert any(one.startswith(words) for one in caplog.messages)
    # Neither takes anything from the other.
    assert (real.held, double.held) == (held, [])
    double.runs = False
    cluster.run(5)
    assert [faults(host) for host in cluster.hosts[:3]] == [[], [], []]
    assert len(caplog.messages) < 20


def test_who_takes_the_place_of_a_node_is_told_from_it(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    real = cluster["web2"]
    double = with_double(cluster)
    # Both get what goes to their node: a cluster without addresses.
    for host in (cluster["web1"], cluster["web3"]):
        host.inbox.peers.append(double.inbox)
    real.runs = False
    cluster.run(3)
    assert faults(cluster["web1"]) == []
    real.runs = True
    cluster.run(3)
    assert faults(cluster["web1"])[0].startswith("a second daemon runs as web2, at 10.9.0.12, be")
    assert any(one.startswith(DOUBLE) for one in faults(real))
    assert any(one.startswith(DOUBLE) for one in faults(double))
    # An incarnation whose place was taken is not heard again.
    double.runs = False
    cluster.run(3)
    words = "web2 speaks at 10.9.0.12, and another daemon, now silent, was heard in its place"
    assert any(one.startswith(words) for one in faults(cluster["web1"]))
    assert "heard-in-its-place" in codes(cluster["web1"])
    assert any(one.startswith(words) for one in caplog.messages)
    real.start().pump()
    cluster.run(8)
    assert [faults(host) for host in cluster.hosts[:3]] == [[], [], []]


def test_a_cluster_that_was_copied_tells_the_copies_alone() -> None:
    """The copies know one another better than the nodes that serve."""
    cluster = sharing()
    real = list(cluster.hosts)
    held = [host.held for host in real]
    copies = [Host(one.name, one.config, lambda: cluster.now) for one in real[1:]]
    cluster.hosts += copies
    for number, host in enumerate(cluster.hosts, start=11):
        host.inbox.address = f"10.9.0.{number}"
        host.inbox.peers = [other.inbox for other in cluster.hosts if other is not host]
    for host in copies:
        host.agent.pump()
    cluster.run(12)
    assert [host.held for host in real] == held
    assert all(contact.barred(host.node.state, cluster.now) for host in copies)
    assert not any(commands(host.inbox.sent) for host in copies)
    assert commands(real[0].inbox.sent)


def test_who_serves_is_not_told_for_one_that_does_not() -> None:
    cluster = sharing()
    first, real = cluster["web1"], cluster["web2"]
    doubles = first.exchange.others.doubles
    peer = first.node.state.hearing.peers.all[real.node.me]
    assert peer.newest
    real.runs = False
    heard, said = peer.newest, peer.newest._replace(incarnation=peer.incarnation + 1)
    for told in (False, True):
        # By one that was heard first, say, and claims nothing; or something.
        peer.newest = heard if told else heard._replace(want=0, held=0, grants=())
        before = len(commands(first.inbox.sent))
        for _ in range(20):
            cluster.run(0.1)
            peer.heard_at = cluster.now
            said = said._replace(sequence=said.sequence + 1)
            doubles.passed_over(said, "10.9.0.14", now=cluster.now)
        assert (len(commands(first.inbox.sent)) > before) == told


def test_a_node_that_was_started_anew_is_not_its_own_double(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    for _ in range(3):
        cluster["web2"].start().pump()
        for _ in range(40):
            cluster.run(0.1)
            assert [faults(host) for host in cluster.hosts] == [[], [], []]
    assert "a second daemon" not in "".join(caplog.messages)


def test_recordings_of_a_former_incarnation_are_no_double_for_ever() -> None:
    cluster = sharing()
    second = cluster["web2"]
    recorded = list(second.inbox.sent)
    second.start().pump()
    cluster.run(3)
    first = cluster["web1"]
    calls = [host.inbox.called for host in cluster.hosts]
    seen = 0
    for _ in range(5):
        for raw in recorded[-30:]:
            first.inbox.inbox.append(Received(raw, "10.9.0.66"))
            cluster.run(0.1)
            seen += bool(faults(first))
    # Each counts once.
    assert 0 < seen <= 40
    assert faults(first) == []
    spent = [host.inbox.called - before for host, before in zip(cluster.hosts, calls, strict=True)]
    assert spent[0] <= 4
    assert spent[1:] == [0, 0]


def test_of_many_recorded_incarnations_one_is_told() -> None:
    cluster = sharing()
    second = cluster["web2"]
    recorded = []
    for _ in range(6):
        recorded.append(list(second.inbox.sent)[-30:])
        second.start().pump()
        second.inbox.sent.clear()
        cluster.run(3)
    first = cluster["web1"]
    before = len(commands(first.inbox.sent))
    for datagrams in zip(*recorded, strict=False):
        for raw in datagrams:
            first.inbox.inbox.append(Received(raw, "10.9.0.66"))
        cluster.run(0.1)
    # At most once a second, to the node at each of its addresses.
    assert 0 < len(commands(first.inbox.sent)) - before <= 4 * 3
