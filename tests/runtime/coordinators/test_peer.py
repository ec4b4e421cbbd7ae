"""Who is silent and may hold buckets is reminded: by the one timer of its daemon, ten times an
interval.
"""

from __future__ import annotations

from clusterip.adapters.datagrams import Received
from tests.runtime.agents import MS, Cluster, Host, sharing

REMINDER = 10 * MS


def due(host: Host, now: int) -> bool:
    """Whether a reminder is, as a daemon asks."""
    at = host.exchange.remind_at
    return at is not None and at <= now


def reminded(cluster: Cluster, host: Host, seconds: float) -> list[bytes]:
    """Return what its timer says in that time where only a reminder is due."""
    before, said = cluster.now + int(seconds * 1000) * MS, []
    while cluster.now < before:
        cluster.run(0.005)
        if due(host, cluster.now):
            old, settled = len(host.inbox.sent), host.node.sequence
            host.agent.timer()
            if host.node.sequence == settled:
                said += host.inbox.sent[old:]
    return said


def test_nobody_is_reminded_where_all_are_heard() -> None:
    cluster = sharing()
    cluster.run(1)
    assert [host.exchange.remind_at for host in cluster.hosts] == [None] * 3


def test_two_remind_who_is_silent_ten_times_an_interval() -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    first.exchange.others.addresses = {third.node.me: ("10.9.0.3",)}
    third.runs = False
    cluster.run(1.5)
    assert third.node.me not in first.node.state.hearing.heard
    said = reminded(cluster, first, 0.5)
    assert 40 <= len(said) <= 55
    # It is what was said last: nobody who hears it takes it for news.
    assert set(said) <= set(first.inbox.sent)
    third.inbox.inbox.clear()
    third.inbox.inbox.append(Received(said[-1]))
    third.runs = True
    cluster.run(1)
    assert first.exchange.remind_at is None


def test_a_reminder_settles_nothing() -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    third.runs = False
    cluster.run(1.5)
    while not due(first, cluster.now) or first.node.next_timer() <= cluster.now:
        cluster.run(0.005)
    sequence = first.node.sequence
    input_at = first.node.state.attention.last_input
    first.agent.timer()
    assert (first.node.sequence, first.node.state.attention.last_input) == (sequence, input_at)
    assert first.exchange.remind_at == cluster.now + REMINDER


def test_one_that_leaves_reminds_nobody() -> None:
    cluster = sharing()
    first, third = cluster["web1"], cluster["web3"]
    third.runs = False
    cluster.run(1.5)
    assert first.exchange.remind_at is not None
    first.agent.abandon()
    cluster.now += REMINDER
    first.exchange.remind(now=cluster.now)
    assert first.exchange.remind_at is None
