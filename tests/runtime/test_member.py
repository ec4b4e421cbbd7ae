"""Members of a cluster: they elect, serve, drain, hand over; what they obey and what they count."""

from __future__ import annotations

import logging

import pytest

from clusterip.adapters.abi import BucketState
from clusterip.core.config import read
from clusterip.core.config.keys import Key, Keys
from clusterip.core.config.state import GROUP
from clusterip.core.errors import RefusedError
from clusterip.core.lease.node import Node
from clusterip.core.lease.timing import DEFAULT, SECOND
from clusterip.core.messages.command import Command, CommandCodec, Verb, is_command
from clusterip.core.messages.message import digest_of_name
from clusterip.core.messages.seal import Fault
from clusterip.core.messages.wire import Codec
from clusterip.runtime.member import Member
from tests.runtime.members import ALL, KEYS, MS, TEXT, Cluster, Host, sharing

SECRETS = KEYS.secrets()
WEB = digest_of_name("web")


def commands(sent: list[bytes]) -> list[bytes]:
    return [one for one in sent if is_command(one)]


def leaving(cluster: Cluster) -> list[str]:
    return [host.name for host in cluster.hosts if host.node.leaving]


def message_of(host: Host) -> bytes:
    """Return what the host said last."""
    return next(one for one in reversed(host.inbox.sent) if not is_command(one))


# ---- serving ----


def test_three_share_the_buckets() -> None:
    cluster = sharing()
    assert [len(host.held) for host in cluster.hosts] == [2, 2, 2]
    for host in cluster.hosts:
        assert host.plane is not None
        deadline = host.plane.deadline(GROUP)
        assert cluster.now < deadline <= cluster.now + DEFAULT.lease
        assert host.member.sent == len(host.inbox.sent)
        assert host.member.message_bytes == len(host.inbox.sent[-1])
        assert host.member.received["accepted"] > 10
        assert host.member.alarms == {}
        # One message for each interval, and few more while things change.
        assert host.member.sent < 4 * SECOND // DEFAULT.interval * 3


def test_a_start_closes_what_lies_there() -> None:
    cluster = Cluster()
    host = cluster["web1"]
    assert host.plane is not None
    for bucket in ALL:
        host.plane.set_bucket(GROUP, bucket, BucketState.OWNED)
    host.plane.set_deadline(GROUP, cluster.now + SECOND)
    host.start()
    host.member.pump()
    assert host.held == []
    assert host.plane.deadline(GROUP) == 0


def test_the_buckets_of_one_that_died_are_answered_in_time() -> None:
    cluster = sharing()
    cluster["web1"].runs = False
    cluster.run(1)
    assert cluster["web1"].answers() == []
    assert cluster.answered() == ALL


def test_one_that_is_cut_off_closes_by_itself() -> None:
    cluster = sharing()
    cluster.cut("web2")
    cluster.run(1)
    assert cluster["web2"].held == []
    assert cluster.answered() == ALL


def test_a_witness_votes_and_holds_nothing() -> None:
    two = TEXT.replace('"web3"', '"web3"\nwitness = true')
    cluster = sharing(read(two))
    assert [len(host.held) for host in cluster.hosts] == [3, 3, 0]
    cluster["web1"].runs = False
    cluster.run(1)
    assert cluster["web2"].answers() == ALL


def test_moves_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clusterip"):
        cluster = sharing()
        said = set(caplog.messages)
        caplog.clear()
        cluster["web1"].member.do(Verb.DRAIN)
        cluster.run(1)
        held = cluster["web1"].states(BucketState.DRAINING)
        for bucket in held:
            cluster["web1"].node.drained([bucket], now=cluster.now)
        cluster.run(1)
    assert any(one.startswith("serving buckets ") and one.endswith(" too") for one in said)
    text = "\n".join(caplog.messages)
    assert "gave buckets" in text
    assert "and keep their connections" in text
    assert "drained buckets" in text


# ---- draining ----


def test_a_drain() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had = first.held
    first.member.do(Verb.DRAIN)
    cluster.run(1)
    assert (first.held, first.states(BucketState.DRAINING)) == ([], had)
    assert cluster.answered() == ALL
    # Who took them leaves their connections alone, until the last is gone.
    taking = [one for host in cluster.hosts for one in host.states(BucketState.TAKING)]
    assert sorted(taking) == had
    assert all(
        cluster.now - SECOND <= at <= cluster.now for at in first.member.drains.since.values()
    )
    for bucket in had:
        first.member.tell(lambda node, now, one=bucket: node.drained([one], now=now))
    assert first.member.drains.since == {}
    cluster.run(1)
    assert first.states(BucketState.DRAINING) == []
    assert [one for host in cluster.hosts for one in host.states(BucketState.TAKING)] == []
    first.member.do(Verb.UNDRAIN)
    cluster.run(2)
    assert len(first.held) == 2


def test_a_weight() -> None:
    cluster = sharing()
    assert [host.member.weight for host in cluster.hosts] == [None] * 3
    cluster["web1"].member.do(Verb.WEIGHT, 0)
    cluster.run(1)
    assert cluster["web1"].held == []
    assert [host.member.weight for host in cluster.hosts] == [0, None, None]
    assert cluster.answered() == ALL


def test_the_last_words() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.member.tell(Node.leave)
    cluster.now += DEFAULT.gap
    first.member.pump()
    assert first.held == []
    last = len(first.inbox.sent)
    first.member.repeat()
    assert first.inbox.sent[last:] == [message_of(first)] * 2
    first.runs = False
    # Nobody waits for a lease that was given back.
    cluster.run(0.1)
    assert cluster.answered() == ALL
    assert cluster["web2"].member.received["replayed"] >= 2


# ---- commands ----


def test_another_node_is_asked() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].member.ask(second.node.me, Verb.DRAIN)
    cluster.run(0.02)
    assert leaving(cluster) == ["web2"]
    # It was said more than once, and done once.
    assert len(commands(cluster["web1"].inbox.sent)) == 3
    assert second.member.received["command"] == 1
    assert second.member.received["command refused: replayed or overtaken"] == 2
    assert cluster["web3"].member.received["command refused: another target"] == 3
    cluster.run(0.2)
    cluster["web1"].member.ask(second.node.me, Verb.UNDRAIN)
    cluster.run(0.2)
    assert leaving(cluster) == []
    cluster["web1"].member.ask(second.node.me, Verb.WEIGHT, 7)
    cluster.run(0.2)
    assert (second.node.weight, second.member.weight) == (7, 7)


def test_a_recorded_command_is_not_obeyed_again() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].member.ask(second.node.me, Verb.DRAIN)
    (recorded, *_) = commands(cluster["web1"].inbox.sent)
    cluster.run(0.2)
    second.member.do(Verb.UNDRAIN)
    second.member.datagram(recorded)
    assert not second.node.leaving
    cluster.run(5)
    second.member.datagram(recorded)
    assert not second.node.leaving
    assert second.member.received["command refused: stale"] == 1


def test_a_command_to_an_earlier_boot_is_not_obeyed() -> None:
    cluster = sharing()
    second = cluster["web2"]
    cluster["web1"].member.ask(second.node.me, Verb.DRAIN)
    (recorded, *_) = commands(cluster["web1"].inbox.sent)
    second.start()
    second.member.pump()
    second.member.datagram(recorded)
    assert not second.node.leaving
    assert second.member.received["command refused: another boot"] == 1


@pytest.mark.parametrize(
    ("cluster_id", "secrets", "fault"),
    [
        (WEB, {1: b"x" * 32}, Fault.MAC),
        (WEB, {2: b"k" * 32}, Fault.KEY),
        (WEB + 1, SECRETS, Fault.CLUSTER),
    ],
)
def test_a_stranger_is_not_obeyed(cluster_id: int, secrets: dict[int, bytes], fault: Fault) -> None:
    cluster = sharing()
    second = cluster["web2"].member
    node = second.node
    command = Command(99, node.me, node.boot, node.sequence, Verb.DRAIN)
    second.datagram(CommandCodec(cluster_id, secrets, next(iter(secrets))).encode(command))
    assert not node.leaving
    assert second.received[fault.value] == 1


def test_one_that_is_not_there_cannot_be_asked() -> None:
    cluster = sharing()
    cluster["web2"].runs = False
    cluster.run(1)
    with pytest.raises(RefusedError, match="web2 is not alive, as far as this host hears"):
        cluster["web1"].member.ask(cluster["web2"].node.me, Verb.DRAIN)
    with pytest.raises(RefusedError, match="17 is not alive"):
        cluster["web1"].member.ask(17, Verb.DRAIN)
    assert commands(cluster["web1"].inbox.sent) == []


# ---- what is counted ----


def altered(datagram: bytes, at: int, byte: int) -> bytes:
    return datagram[:at] + bytes((byte,)) + datagram[at + 1 :]


def test_what_is_no_message_is_counted_by_kind() -> None:
    cluster = sharing()
    member = cluster["web2"].member
    good = message_of(cluster["web1"])
    before = dict(member.received)
    assert not {one.value for one in Fault} & set(before)
    for bad in (
        b"",
        b"x" * 5000,
        altered(good, 0, 0),
        altered(good, 4, 9),
        altered(good, 5, 9),
        altered(good, 6, good[6] ^ 1),
        altered(good, 20, good[20] ^ 1),
        good[:-1],
        Codec(WEB, SECRETS, 1, 6)._seal.close(b"short"),
        b"CLIC",
    ):
        member.datagram(bad)
    found = {kind: member.received[kind] for kind in set(member.received) - set(before)}
    assert found == {
        "truncated": 2,
        "oversized": 1,
        "bad magic": 1,
        "wrong version": 1,
        "unknown key": 1,
        "wrong cluster": 1,
        "bad MAC": 2,
        "malformed": 1,
    }
    cluster.run(0.1)
    assert cluster.answered() == ALL


def test_what_is_no_news_is_counted_too() -> None:
    cluster = sharing()
    member = cluster["web2"].member
    member.datagram(message_of(cluster["web1"]))
    member.datagram(message_of(cluster["web1"]))
    member.datagram(message_of(cluster["web2"]))
    assert member.received["replayed"] >= 1
    assert member.received["own"] == 1
    four = Cluster(read(TEXT + '[[node]]\nname = "web4"\n'))
    member.datagram(message_of(four["web4"]))
    assert member.received["stranger"] == 1


def test_keys_are_changed_host_by_host() -> None:
    cluster = sharing()
    old, new = KEYS.sending, Key(2, b"n" * 32)
    for keys in ((old, new), (new, old), (new,)):
        for host in cluster.hosts:
            host.member.use_keys(Keys(keys))
            cluster.run(0.5)
            assert cluster.answered() == ALL
    assert all(host.member.received["unknown key"] == 0 for host in cluster.hosts)
    assert cluster["web1"].inbox.sent[-1][5] == 2


# ---- alarms ----


def test_another_configuration(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    cluster["web3"].config = read(TEXT.replace("buckets = 6", "buckets = 6\nhash_init = 5"))
    cluster["web3"].start()
    cluster["web3"].member.pump()
    cluster.run(4)
    first = cluster["web1"].member
    assert first.alarms == {"mismatch": 1}
    assert first.received["mismatch"] > 10
    # Two of three are a majority.
    assert cluster.answered() == ALL
    assert cluster["web3"].held == []
    assert any("web3 has another configuration" in one for one in caplog.messages)


def test_starved(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.runs = False
    cluster.run(0.4)
    first.runs = True
    cluster.run(0.01)
    assert first.member.alarms == {"starved": 1}
    (line,) = (one for one in caplog.messages if "starved" in one)
    assert "of a lease of 700 ms" in line


def test_two_owners(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    first, second = cluster["web1"], cluster["web2"]
    codec = Codec(WEB, SECRETS, 1, 6)
    said = codec.decode(message_of(second))
    both = first.node.kernel.open
    lie = said._replace(sequence=said.sequence + 1, want=said.want | both, held=said.held | both)
    second.runs = False
    first.member.datagram(codec.encode(lie))
    assert first.member.alarms == {"two_owners": 1}
    (line,) = (one for one in caplog.messages if "TWO OWNERS" in one)
    assert line.startswith("TWO OWNERS: web2 says that it holds buckets ")


# ---- planned restarts ----


def restarted(cluster: Cluster, name: str) -> Member:
    """Have a host restart, and return its new member when it goes on."""
    host = cluster[name]
    host.member.tell(Node.prepare_restart)
    for _ in range(200):
        cluster.run(0.005)
        if host.member.may_go:
            break
    assert host.member.may_go
    return host.start(host.member.hand_over())


def test_a_restart_loses_nothing() -> None:
    cluster = sharing()
    first = cluster["web1"]
    had, boot, sequence = first.held, first.node.boot, first.node.sequence
    first.member.tell(Node.prepare_restart)
    while not first.member.may_go:
        cluster.run(0.005)
    # From here on nothing happens but the hand-over.
    sent = len(first.inbox.sent)
    first.inbox.inbox.extend([b"", b"", b""])
    waiting = len(first.inbox.inbox)
    first.member.receive()
    first.member.pump()
    assert len(first.inbox.sent) == sent
    assert len(first.inbox.inbox) == waiting - 1
    document = first.member.hand_over()
    for _ in range(20):
        cluster.run(0.1)
        assert first.answers() == had
    first.start(document)
    assert first.node.boot == boot
    assert first.node.sequence > sequence
    for _ in range(20):
        cluster.run(0.05)
        assert first.answers() == had
        assert cluster.answered() == ALL
    assert first.member.alarms == cluster["web2"].member.alarms == {}


def test_a_drain_outlasts_a_restart() -> None:
    cluster = sharing()
    first = cluster["web1"]
    first.member.do(Verb.DRAIN)
    cluster.run(1)
    since = dict(first.member.drains.since)
    assert since
    first.member.tell(Node.prepare_restart)
    while not first.member.may_go:
        cluster.run(0.005)
    document = first.member.hand_over()
    assert document["draining_since"] == {str(bucket): at for bucket, at in since.items()}
    assert sorted(since) == first.states(BucketState.DRAINING)
    first.start(document)
    assert first.node.leaving


def test_a_command_that_the_predecessor_obeyed_is_not_obeyed_by_the_successor() -> None:
    cluster = sharing()
    first = cluster["web1"]
    cluster["web2"].member.ask(first.node.me, Verb.WEIGHT, 7)
    (recorded, *_) = commands(cluster["web2"].inbox.sent)
    cluster.run(0.05)
    assert first.member.received["command"] == 1
    member = restarted(cluster, "web1")
    member.datagram(recorded)
    assert member.received["command refused: replayed or overtaken"] == 1
    assert member.received["command"] == 0


def test_nobody_agrees_to_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    cluster = sharing()
    cluster.cut("web1")
    first = cluster["web1"].member
    first.tell(Node.prepare_restart)
    cluster.run(2)
    assert not first.may_go
    assert first.refused_restarts == 1
    assert any("no majority agreed to a restart" in one for one in caplog.messages)


def test_the_note_covers_every_promise() -> None:
    cluster = sharing()
    second = cluster["web2"].memory
    cluster["web1"].member.tell(Node.prepare_restart)
    cluster.run(0.1)
    for host in ("web1", "web2"):
        memory = cluster[host].memory
        assert memory.until is not None
        assert memory.until >= cluster.now - 100 * MS + DEFAULT.restart
    # It only ever moves ahead.
    assert second.notes == sorted(second.notes)


def test_without_a_network_nothing_is_served() -> None:
    cluster = Cluster()
    for host in cluster.hosts:
        host.inbox.peers = []
    cluster.run(4)
    assert cluster.answered() == []


# ---- flows ----


def test_flows_are_read_from_the_kernel_of_one_and_put_into_that_of_the_other() -> None:
    cluster = sharing()
    web1 = cluster["web1"]
    assert web1.plane is not None
    web1.node.flows.watch, web1.node.flows.keep = 300 * MS, SECOND
    bucket = web1.held[0]
    web1.member.do(Verb.DRAIN)
    cluster.run(0.2)
    assert web1.plane.states(GROUP)[bucket - 1] is BucketState.WATCHING
    web1.plane.set_cells(GROUP, bucket, 0b101)
    cluster.run(0.3)
    assert web1.plane.states(GROUP)[bucket - 1] is BucketState.DRAINING
    (taker,) = (host for host in cluster.hosts if bucket in host.held)
    assert taker.plane is not None
    assert taker.plane.cells(GROUP, bucket) == 0b101
    cluster.run(1.0)
    assert (web1.plane.cells(GROUP, bucket), taker.plane.cells(GROUP, bucket)) == (0, 0)
