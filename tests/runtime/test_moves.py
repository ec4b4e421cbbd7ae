"""Why buckets come and go, as the log has it: once for each cause, and never for each bucket."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.core.buckets import counted
from clusterip.core.messages.command import Verb
from tests.runtime.agents import Cluster, Host, sharing

pytestmark = pytest.mark.usefixtures("info")


class Log:
    """What is said of buckets, one host at a time: all hosts have one logger here."""

    def __init__(self, cluster: Cluster, name: str, caplog: pytest.LogCaptureFixture) -> None:
        self._cluster, self._name, self._caplog = cluster, name, caplog

    def lines(self, seconds: float) -> list[str]:
        """Let time pass, and return what the host says meanwhile."""
        said: list[str] = []
        step = self._cluster.step

        def watched(host: Host) -> None:
            self._caplog.clear()
            step(host)
            if host.name == self._name:
                said.extend(one for one in self._caplog.messages if "bucket" in one)

        self._cluster.step = watched  # type: ignore[method-assign]
        try:
            self._cluster.run(seconds)
        finally:
            self._cluster.step = step  # type: ignore[method-assign]
        return said


def drained(cluster: Cluster) -> None:
    for host in cluster.hosts:
        over = host.states(BucketState.DRAINING)
        host.agent.tell(partial(host.node.drained, buckets=over))


def test_a_start(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    lines = Log(cluster, "web2", caplog).lines(4)
    assert lines == [f"serving {counted(cluster['web2'].held)}, which nobody had"]


def test_a_death_and_a_return(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    log = Log(cluster, "web2", caplog)
    before = cluster["web2"].held
    cluster["web3"].runs = False
    lines = log.lines(3)
    taken = [one for one in cluster["web2"].held if one not in before]
    assert taken
    assert lines[1:] == [f"serving {counted(taken)}, taken over from web3, which is silent"]
    assert lines[0].startswith("web3 is silent for 0.")
    cluster["web3"].inbox.inbox.clear()
    cluster["web3"].start()
    cluster["web3"].runs = True
    lines = log.lines(4)
    given = counted(cluster["web2"].states(BucketState.DRAINING))
    assert lines == [f"giving {given} to web3, as planned; open connections stay here"]
    log.lines(1)
    caplog.clear()
    drained(cluster)
    assert f"drained {given}" in caplog.messages


def test_who_keeps_what_it_was_giving_and_dies_gave_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = sharing()
    log = Log(cluster, "web2", caplog)
    web2, web3 = cluster["web2"], cluster["web3"]
    newest = web2.node.known(web3.node.me)
    assert newest is not None
    assert newest.held
    web2.agent._moves.heard(newest._replace(held=0, draining=newest.held))
    web2.agent._moves.heard(newest)
    cluster["web3"].runs = False
    (line,) = (one for one in log.lines(3) if one.startswith("serving"))
    assert line.endswith(", taken over from web3, which is silent")


def test_a_drain_on_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first, second = Log(cluster, "web1", caplog), Log(cluster, "web2", caplog)
    had = cluster["web1"].held
    cluster["web1"].agent.do(Verb.DRAIN)
    lines = first.lines(0.05)
    drained(cluster)
    lines += first.lines(2)
    why = ", for this node is drained, or stops"
    assert lines
    assert all(why in one for one in lines if one.startswith("giv"))
    assert sum("drained" in one for one in lines) >= 1
    before = cluster["web2"].held
    cluster["web1"].agent.do(Verb.UNDRAIN)
    cluster.run(3)
    cluster["web1"].agent.do(Verb.DRAIN)
    lines = second.lines(2)
    assert had
    assert set(cluster["web2"].held) == set(before)
    (line,) = (one for one in lines if one.startswith("serving"))
    assert line.endswith(", given by web1, for it is drained, or stops")


def test_one_that_stops(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    had = counted(cluster["web1"].held)
    caplog.clear()
    cluster["web1"].agent.tell(cluster["web1"].node.leave)
    (line,) = (one for one in caplog.messages if "bucket" in one)
    assert line == f"serving {had} no longer: this daemon ends"


@pytest.mark.parametrize("cause", ["the interface is down", "no majority of the voters hears"])
def test_all_that_is_lost_at_once(cause: str, caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    log = Log(cluster, "web1", caplog)
    had = counted(cluster["web1"].held)
    if cause.startswith("no"):
        cluster.cut("web1")
        lines = log.lines(2)
    else:
        caplog.clear()
        cluster["web1"].agent.tell(partial(cluster["web1"].node.set_link, up=False))
        lines = [one for one in caplog.messages if "bucket" in one]
    (line,) = (one for one in lines if one.startswith("serving"))
    assert line.startswith(f"serving {had} no longer: {cause}")


def test_what_comes_back_was_ours(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    log = Log(cluster, "web1", caplog)
    for other in ("web2", "web3"):
        cluster.cut(other)
    had = set(cluster["web1"].held)
    cluster.run(2)
    for host in cluster.hosts:
        host.inbox.peers = [other.inbox for other in cluster.hosts if other is not host]
    lines = [one for one in log.lines(4) if one.startswith("serving")]
    now = set(cluster["web1"].held)
    expected = {
        f"serving {counted(some)}, {words}"
        for buckets, words in (
            (now & had, "which were ours before"),
            (now - had, "which web2 had before"),
            (now - had, "which web3 had before"),
        )
        for count in range(1, len(buckets) + 1)
        for some in combinations(sorted(buckets), count)
    }
    assert lines
    assert set(lines) <= expected


def test_one_that_is_unhealthy(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    log = Log(cluster, "web1", caplog)
    cluster["web1"].agent.tell(partial(cluster["web1"].node.set_health, healthy=False))
    lines = log.lines(0.05)
    assert all(", for this node is unhealthy; open connections" in one for one in lines)
    assert 1 <= len(lines) <= 2


def test_a_restart_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.agent.tell(first.node.prepare_restart)
    while not first.agent.may_go:
        cluster.run(0.005)
    first.start(first.agent.hand_over())
    assert Log(cluster, "web1", caplog).lines(2) == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_stop_right_after_a_drain(caplog: pytest.LogCaptureFixture, whole: bool) -> None:
    """What is said later is said as it was then."""
    cluster = sharing()
    log = Log(cluster, "web1", caplog)
    web1 = cluster["web1"]
    web1.agent.tell(web1.node.drain)
    while web1.held or not web1.states(BucketState.DRAINING):
        cluster.run(0.05)
    caplog.clear()
    if whole:
        drained(cluster)
    web1.agent.tell(web1.node.leave)
    lines = [*caplog.messages, *log.lines(2)]
    (line,) = {one for one in lines if one.startswith("drained ")}
    assert ("cut short" in line) is not whole
